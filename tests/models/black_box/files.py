"""Networks of `tests.tiny` in files: exported by torch, and written operator by operator for ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from automl_kd.models.black_box.file import pin_graph
from automl_kd.space import InputShape
from tests import tiny

Batch = int | str
"""A fixed number of images, or the name of a free one."""


def trained_net(shape: InputShape = tiny.SHAPE) -> tiny.Net:
    """A network whose normalisation has seen images, in evaluation mode."""
    network = tiny.Net(shape, 16)
    network(torch.randn(64, shape.channels, shape.height, shape.width))
    return network.eval()


def save_pt2(network: nn.Module, path: Path, shape: InputShape = tiny.SHAPE, batch: Batch = "batch") -> Path:
    images = torch.zeros(4 if isinstance(batch, str) else batch, shape.channels, shape.height, shape.width)
    free = ({0: torch.export.Dim("batch")},) if isinstance(batch, str) else None
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=free), path)
    return path


def onnx_of(
    network: tiny.Net,
    *,
    batch: Batch = "batch",
    size: tuple[Batch, Batch] = (8, 8),
    last: tuple[str, ...] = (),
    outputs: tuple[str, ...] = ("logits",),
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """`last`: operators behind the classifier. `outputs`: their names; all but the last one are inner tensors."""
    own = {name: value.detach().numpy() for name, value in network.state_dict().items() if value.is_floating_point()}
    norm = [f"norm.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    names = ["classified", *(f"after{place}" for place in range(len(last)))]
    names[-1] = outputs[-1]
    nodes = [
        helper.make_node("Conv", ["images", "stem.weight"], ["stem"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["stem", *norm], ["normed"], epsilon=network.norm.eps),
        helper.make_node("Relu", ["normed"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "classifier.weight", "classifier.bias"], [names[0]], transB=1),
        *(helper.make_node(one, [before], [after]) for one, before, after in zip(last, names, names[1:], strict=False)),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", kind, [batch, network.stem.in_channels, *size])],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in own.items()],
    )
    for output in graph.output:
        output.type.tensor_type.elem_type = TensorProto.FLOAT
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def save_onnx(network: tiny.Net, path: Path, **described: Any) -> Path:
    onnx.save(onnx_of(network, **described), path)
    return path


def save(kind: str, network: tiny.Net, folder: Path, batch: Batch = "batch") -> str:
    """The reference to a file of the kind "pt2" or "onnx"."""
    path = folder / f"net.{kind}"
    made = save_pt2(network, path, batch=batch) if kind == "pt2" else save_onnx(network, path, batch=batch)
    return pin_graph(f"file:{made}")
