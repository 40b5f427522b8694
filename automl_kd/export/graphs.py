"""Graphs of a student: a program of torch.export, and the same program as a graph of ONNX in one file.

Either takes batches of any size. The ONNX file is made of the program, so that both are one trace of the network.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from automl_kd.errors import ExportError
from automl_kd.export.packages import require_package
from automl_kd.export.student_input import StudentInput
from automl_kd.models.black_box.graph import LOGITS_NAME
from automl_kd.models.foreign.adoption import logits_of
from automl_kd.registry import name_type

INPUT_NAME, PROBABILITIES_NAME = "images", "probabilities"
"""Names of what a graph takes and, with preprocessing, returns."""

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


def trace_program(graph: StudentGraph, shape: tuple[int, int, int]) -> Any:
    """The program of `graph` for images of `shape`: channels, height and width.

    `ExportError` if torch cannot trace it for batches of any size.
    """
    channels, height, width = shape
    size = (height, width, channels) if graph.takes_bytes else shape
    # Fresh zeros: a saved program holds its example, with the whole storage that the example is a view of.
    example = torch.zeros((EXAMPLE_BATCH, *size), dtype=torch.uint8 if graph.takes_bytes else torch.float32)
    batch = torch.export.Dim("batch", min=1)
    try:
        with torch.no_grad(), silenced():
            return torch.export.export(graph.eval(), (example,), dynamic_shapes=({0: batch},), strict=False)
    except Exception as error:  # what torch raises depends on what the network does
        raise impossible(graph.network, "traced by torch.export", error) from error


def write_program(program: Any, path: Path) -> None:
    with silenced():
        torch.export.save(program, path)


def write_onnx(program: Any, path: Path, output: str = LOGITS_NAME) -> None:
    """Write `program` as a graph of ONNX, weights inside; `ExportError` if it cannot be converted.

    `output`: the name of what it returns. What exporters note of the Python source, paths and lines, is left out.
    """
    onnx = require_package("onnx")
    require_package("onnxscript")
    try:
        with torch.no_grad(), silenced():
            made = torch.onnx.export(
                program,
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=[INPUT_NAME],
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
    """Call the number of images "batch", where the exporter has a symbol such as "s34"."""
    symbol = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param == symbol:
                size.dim_param = "batch"


def impossible(network: nn.Module | None, what: str, error: Exception) -> ExportError:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    who = "the student" if network is None else name_type(network)
    return ExportError(
        f"{who} cannot be {what} ({type(error).__name__}: {reason[:200]}); leave that form out, or let its forward use "
        "operations that can be, and images.shape[0] in place of len(images)"
    )


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
