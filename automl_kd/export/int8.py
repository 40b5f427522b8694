"""A graph of ONNX in eight bits, quantised by onnxruntime after training.

QDQ form: static scales, one for each channel of a weight and one for each activation, from images of training. Weights
are signed and activations are not, the product that x86 processors have an instruction for (VNNI): with onnxruntime's
default, both signed, a residual network took 1.66 ms where it takes 0.72 (float 1.75; AMD EPYC, onnxruntime 1.32.0). It
is made of the one-file graph as it is: `quant_pre_process` fails on a graph whose weights lie in another file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from automl_kd.errors import ExportError
from automl_kd.export.graphs import INPUT_NAME, silenced
from automl_kd.export.packages import require_package
from automl_kd.export.student_input import StudentInput
from automl_kd.export.subject import Subject

CALIBRATION_IMAGES = 100

CALIBRATION_BATCH = 10

AROUND = ("Cast", "Transpose", "Mul", "Sub", "Identity")
"""Operators of preprocessing, which stay in float."""


class CalibrationImages:
    """Batches as onnxruntime asks for them."""

    def __init__(self, images: np.ndarray[Any, Any]) -> None:
        pieces = np.array_split(images, -(-len(images) // CALIBRATION_BATCH))
        self.batches: Iterator[np.ndarray[Any, Any]] = iter(pieces)

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        batch = next(self.batches, None)
        return None if batch is None else {INPUT_NAME: batch}


def quantise_onnx(source: Path, target: Path, images: np.ndarray[Any, Any]) -> None:
    """Write the graph at `source` in eight bits to `target`; `ExportError` if onnxruntime cannot quantise it.

    `images`: of training, as the graph takes them.
    """
    quantization, onnx = require_package("onnxruntime.quantization"), require_package("onnx")
    model = onnx.load(str(source))
    try:
        with silenced():
            quantization.quantize_static(
                str(source),
                str(target),
                CalibrationImages(images),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=preprocessing_nodes(model) + final_softmax(model),
            )
    except Exception as error:  # onnxruntime raises classes of its own
        raise cannot_quantise(error) from error


def quantise_subject(subject: Subject, folder: Path, give: Callable[[Tensor], Tensor] = lambda images: images) -> None:
    """Write student.int8.onnx beside student.onnx: of images with scales from training images, of texts with none.

    `give`: what the graph is given of what the student is.
    """
    source, target = folder / "student.onnx", folder / "student.int8.onnx"
    if isinstance(subject.input, StudentInput):
        images = give(subject.training_images(CALIBRATION_IMAGES))
        quantise_onnx(source, target, images.contiguous().numpy())
    else:
        quantise_dynamically(source, target)


def quantise_dynamically(source: Path, target: Path) -> None:
    """Weights in eight bits, and activations as they come: lengths of texts differ too much for fixed scales."""
    quantization = require_package("onnxruntime.quantization")
    try:
        with silenced():
            options = {"weight_type": quantization.QuantType.QInt8, "per_channel": True}
            quantization.quantize_dynamic(str(source), str(target), **options)
    except Exception as error:  # onnxruntime raises classes of its own
        raise cannot_quantise(error) from error


def cannot_quantise(error: Exception) -> ExportError:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return ExportError(f"onnxruntime cannot quantise the student ({reason}); leave int8 out")


def preprocessing_nodes(model: Any) -> list[str]:
    """The names of the nodes between the images and the network's first layer."""
    found, reached = [], {INPUT_NAME}
    for node in model.graph.node:
        if node.op_type in AROUND and reached.intersection(node.input):
            found.append(node.name)
            reached.update(node.output)
    return found


def final_softmax(model: Any) -> list[str]:
    outputs = {one.name for one in model.graph.output}
    return [node.name for node in model.graph.node if node.op_type == "Softmax" and outputs.intersection(node.output)]
