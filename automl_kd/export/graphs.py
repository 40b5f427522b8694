"""Graphs of a student: a program of torch.export, and the same program as a graph of ONNX in one file.

Either takes batches of any size. The ONNX file is made of the program, so that both are one trace of the network.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._decomp import global_decomposition_table

from automl_kd.errors import ExportError
from automl_kd.export.packages import require_package
from automl_kd.export.student_input import StudentInput
from automl_kd.models.black_box.graph import LOGITS_NAME
from automl_kd.models.foreign.adoption import logits_of
from automl_kd.registry import name_type
from automl_kd.space import InputShape, TextShape

INPUT_NAME = "images"
"""Of what a graph takes."""

EXAMPLE_BATCH = 2
"""Images in the example: torch takes a size of 0 or 1 for a constant."""


class StudentGraph(nn.Module):
    """What is exported of a network: normalised images to logits, or bytes to probabilities.

    `preprocessing`: puts normalisation in front, so that images are uint8 (batch, height, width, channels) of the
    student's size, and a softmax behind. None takes float32 (batch, channels, height, width), normalised.
    """

    factor: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, preprocessing: StudentInput | None = None) -> None:
        super().__init__()
        self.network, self.takes_bytes = network, preprocessing is not None
        if preprocessing is not None:
            for name, values in zip(("factor", "shift"), preprocessing.scales, strict=True):
                self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        logits = logits_of(self.network(self.normalised(images)))
        if logits is None:
            raise ExportError(f"{name_type(self.network)} returns no logits; let its forward return them")
        logits = logits.float()  # a network may compute in other numbers
        return logits.softmax(1) if self.takes_bytes else logits

    def normalised(self, images: Tensor) -> Tensor:
        if not self.takes_bytes:
            return images.clone()  # a network may write into its images, and the caller's would change
        return images.permute(0, 3, 1, 2).float() * self.factor - self.shift


class TextGraph(nn.Module):
    """What is exported of a network of texts: tokens and a mask, int64 (batch, length), to logits."""

    takes_bytes = False

    def __init__(self, network: nn.Module, padding: int) -> None:
        super().__init__()
        self.network, self.padding = network, padding

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits = logits_of(self.network(input_ids.masked_fill(attention_mask == 0, self.padding)))
        if logits is None:
            raise ExportError(f"{name_type(self.network)} returns no logits; let its forward return them")
        return logits.float()


ExportGraph = StudentGraph | TextGraph


def make_graph(network: nn.Module, shape: InputShape, preprocessing: StudentInput | None = None) -> ExportGraph:
    """The graph for inputs of `shape`."""
    if isinstance(shape, TextShape):
        return TextGraph(network, shape.padding)
    return StudentGraph(network, preprocessing)


def example_of(graph: ExportGraph, shape: InputShape) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
    """An example, and which of its sizes may be any."""
    batch = torch.export.Dim("batch", min=1)
    if isinstance(graph, TextGraph):
        tokens = shape.blank(EXAMPLE_BATCH, torch.empty(0))
        sizes = {0: batch, 1: torch.export.Dim("length", min=2, max=max(3, getattr(shape, "longest", 3)))}
        return (tokens, torch.ones_like(tokens)), (sizes, sizes)
    size = (shape.channels, shape.height, shape.width)
    size = (*size[1:], size[0]) if graph.takes_bytes else size
    # Fresh zeros: a saved program holds its example, with the whole storage that the example is a view of.
    example = torch.zeros((EXAMPLE_BATCH, *size), dtype=torch.uint8 if graph.takes_bytes else torch.float32)
    return (example,), ({0: batch},)


def trace_program(graph: ExportGraph, shape: InputShape) -> Any:
    """The program of `graph` for inputs of `shape`; `ExportError` if torch cannot trace it for batches of any size."""
    example, sizes = example_of(graph, shape)
    try:
        with torch.no_grad(), silenced(), lstm_as_one():
            return torch.export.export(graph.eval(), example, dynamic_shapes=sizes, strict=False)
    except Exception as error:  # what torch raises depends on what the network does
        raise impossible(graph.network, "traced by torch.export", error) from error


def write_program(program: Any, path: Path) -> None:
    with silenced():
        torch.export.save(program, path)


def write_onnx(program: Any, path: Path, output: str = LOGITS_NAME, names: Sequence[str] = (INPUT_NAME,)) -> None:
    """Write `program` as a graph of ONNX, weights inside; `ExportError` if it cannot be converted.

    `output`, `names`: of what it returns and takes. What exporters note of the Python source, paths and lines, is left
    out.
    """
    onnx = require_package("onnx")
    require_package("onnxscript")
    try:
        with torch.no_grad(), silenced(), lstm_as_one():
            made = torch.onnx.export(
                program,
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=list(names),
                output_names=[output],
            )
        model: Any = made.model_proto  # type: ignore[union-attr]  # None only for the older exporter
        forget_source(model)
        name_batch(model)
        onnx.save_model(model, str(path))
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # likewise
        raise impossible(None, "converted to ONNX", error) from error


def forget_source(model: Any) -> None:
    graphs = [model.graph, *model.functions]
    for holder in (model, *graphs, *(node for graph in graphs for node in graph.node)):
        del holder.metadata_props[:]
        holder.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]


def name_batch(model: Any) -> None:
    """Call the number of inputs "batch" and that of tokens "length", where the exporter has symbols such as "s34"."""
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    named = {sizes[0].dim_param: "batch", **({sizes[1].dim_param: "length"} if len(sizes) == 2 else {})}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in named and size.dim_param:
                size.dim_param = named[size.dim_param]


def impossible(network: nn.Module | None, what: str, error: Exception) -> ExportError:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    who = "the student" if network is None else name_type(network)
    return ExportError(
        f"{who} cannot be {what} ({type(error).__name__}: {reason[:200]}); leave that form out, or let its forward use "
        "operations that can be, and images.shape[0] in place of len(images)"
    )


@contextmanager
def lstm_as_one() -> Iterator[None]:
    """Inside, exporters see an LSTM as one operation.

    torch 2.14 takes it apart token by token, which fixes the length of texts to the example's; ONNX has the operation.
    """
    lstm, decompositions = torch.ops.aten.lstm.input, global_decomposition_table["post_autograd"]
    kernels, decomposition = dict(lstm.py_kernels), decompositions[lstm]
    lstm.py_kernels.update(dict.fromkeys(kernels, lstm_shapes))
    decompositions[lstm] = lstm_shapes
    lstm._dispatch_cache.clear()  # of kernels that were found before
    try:
        yield
    finally:
        lstm.py_kernels.clear()
        lstm.py_kernels.update(kernels)
        decompositions[lstm] = decomposition
        lstm._dispatch_cache.clear()


def lstm_shapes(given: Tensor, start: Sequence[Tensor], *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Tensors of the shapes that aten.lstm.input returns; `options` end with `bidirectional` and `batch_first`."""
    channels = start[0].shape[2] * (1 + bool(options[-2]))
    return given.new_empty((*given.shape[:-1], channels)), start[0].clone(), start[1].clone()


@contextmanager
def silenced() -> Iterator[None]:
    """Inside, libraries neither warn nor log, nor do they set up logging."""
    root, before = logging.getLogger(), logging.root.manager.disable
    handler = logging.NullHandler()
    root.addHandler(handler)
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
        root.removeHandler(handler)
