"""Graphs of ONNX, run by onnxruntime: with one thread on the processor, or on the GPU where its package has CUDA.

The packages onnx and onnxruntime are the optional extra `onnx`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from automl_kd.errors import ConfigError
from automl_kd.models.black_box.graph import LOGITS_NAME, GraphBatch, GraphInput, read_input
from automl_kd.models.black_box.onnx_macs import count_graph_macs, count_learned
from automl_kd.models.foreign.packages import library
from automl_kd.space import InputShape

CUDA = "CUDAExecutionProvider"
PROCESSOR = "CPUExecutionProvider"

SILENT = 3
"""Onnxruntime's level of logging at which it tells of errors alone, which it raises as well."""


class OnnxGraph:
    """The graph in the file at `path`, a `Graph`; raise `ConfigError` for what is no such file or cannot teach."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self.runtime = library("onnxruntime", "onnx")
        model = read_onnx(path)
        self.params = count_learned(model)
        self.input_name, self.input = input_of_graph(self.name, model)
        self.output_name = output_of_graph(self.name, model)
        self.sessions: dict[torch.device, Any] = {}
        self.macs: dict[InputShape, int] = {}

    def run(self, images: Tensor) -> Tensor:
        if images.device not in self.sessions:
            self.sessions[images.device] = self.open_session(images.device)
        made = self.sessions[images.device].run([self.output_name], {self.input_name: images.cpu().numpy()})
        return torch.from_numpy(made[0]).to(images.device)

    def open_session(self, device: torch.device) -> Any:
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = SILENT
        providers: list[Any] = [PROCESSOR]
        if device.type == "cuda" and self.has_cuda():
            providers.insert(0, (CUDA, {"device_id": device.index or 0}))
        try:
            return self.runtime.InferenceSession(str(self.path), options, providers=providers)
        except Exception as error:  # onnxruntime raises classes of its own, which its package does not export
            raise unreadable(self.path, error) from error

    def has_cuda(self) -> bool:
        return CUDA in self.runtime.get_available_providers()

    def count_macs(self, shape: InputShape) -> int:
        if shape not in self.macs:
            self.macs[shape] = count_graph_macs(self.name, read_onnx(self.path), shape, self.input.least)
        return self.macs[shape]

    def describe_runtime(self) -> str:
        where = "with CUDA on GPUs" if self.has_cuda() else "on the processor, in trials on a GPU too"
        return f"onnxruntime {self.runtime.__version__} {where}"

    def identify_runtime(self, device: str) -> str:
        provider = CUDA if device == "cuda" and self.has_cuda() else PROCESSOR
        return f"onnxruntime {self.runtime.__version__} {provider}"


def read_onnx(path: Path) -> Any:
    """The graph without weights that lie in other files, its local functions in their places."""
    onnx = library("onnx", "onnx")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf raises classes of its own
        raise unreadable(path, error) from error
    if not model.graph.node:
        raise ConfigError(f"{path} holds no graph of ONNX; export the network to it again")
    inliner = library("onnx.inliner", "onnx")
    return inliner.inline_local_functions(model) if model.functions else model


def unreadable(path: Path, error: Exception) -> ConfigError:
    reason = str(error).splitlines()[0] if str(error) else ""
    return ConfigError(f"{path} cannot be read as a graph of ONNX ({type(error).__name__}: {reason}); export it again")


def external_files(path: Path) -> list[Path]:
    """The files beside it that hold weights of a graph, in the order of their names, whether they are there or not."""
    helper = library("onnx.external_data_helper", "onnx")
    found = {
        str(helper.ExternalDataInfo(tensor).location)
        for tensor in read_onnx(path).graph.initializer
        if helper.uses_external_data(tensor)
    }
    return [path.parent / name for name in sorted(found)]


def input_of_graph(name: str, model: Any) -> tuple[str, GraphInput]:
    onnx = library("onnx", "onnx")
    learned = {tensor.name for tensor in model.graph.initializer}
    given = [one for one in model.graph.input if one.name not in learned]
    if len(given) != 1 or not given[0].type.HasField("tensor_type"):
        raise ConfigError(f"{name} takes {len(given)} inputs where images alone were wanted; export it with one input")
    tensor = given[0].type.tensor_type
    dims = tuple(one.dim_value if one.dim_value > 0 else None for one in tensor.shape.dim)
    kinds = {
        onnx.TensorProto.FLOAT: torch.float32,
        onnx.TensorProto.FLOAT16: torch.float16,
        onnx.TensorProto.DOUBLE: torch.float64,
        onnx.TensorProto.UINT8: torch.uint8,
    }
    fixed = dims[0] if dims else None
    batch = GraphBatch() if fixed is None else GraphBatch(fixed, fixed)
    return given[0].name, read_input(name, dims, kinds.get(tensor.elem_type), batch)


def output_of_graph(name: str, model: Any) -> str:
    """The name of its only output, or of the one called "logits"."""
    names = [one.name for one in model.graph.output]
    if len(names) != 1 and LOGITS_NAME not in names:
        raise ConfigError(
            f"{name} returns {len(names)} outputs of which none is called {LOGITS_NAME!r}; export the network with "
            "its logits as the only output, or with this name"
        )
    return names[0] if len(names) == 1 else LOGITS_NAME
