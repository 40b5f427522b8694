"""Exported graphs as plain functions of images, on the processor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from automl_kd.errors import ExportError
from automl_kd.export.graphs import silenced
from automl_kd.export.packages import require_package
from automl_kd.models.black_box.onnx_file import PROCESSOR, SILENT

Run = Callable[[Tensor], Tensor]


def run_onnx(path: Path) -> Run:
    """The graph in an .onnx file, run by onnxruntime with as many threads as torch has."""
    runtime = require_package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = SILENT
    try:
        session = runtime.InferenceSession(str(path), options, providers=[PROCESSOR])
    except Exception as error:  # onnxruntime raises classes of its own, which its package does not export
        raise unusable(path, error) from error
    first, *masks = session.get_inputs()

    def run(images: Tensor) -> Tensor:
        given = {first.name: images.contiguous().numpy()}
        given |= {one.name: np.ones_like(given[first.name]) for one in masks}  # padding is seen by its number, too
        try:
            return torch.from_numpy(session.run(None, given)[0])
        except Exception as error:  # likewise
            raise unusable(path, error, len(images)) from error

    return run


def run_program(path: Path) -> Run:
    """The program in a .pt2 file, as it is read back."""
    with silenced():
        module = torch.export.load(path).module()

    masks = 0 if images_alone(module) else 1

    def run(images: Tensor) -> Tensor:
        try:
            with torch.no_grad():
                found: Tensor = module(images, *[torch.ones_like(images)] * masks)
        except Exception as error:  # what torch raises depends on the program
            raise unusable(path, error, len(images)) from error
        return found

    return run


def images_alone(module: torch.nn.Module) -> bool:
    """Whether a program takes nothing beside its inputs."""
    graph: Any = module.graph
    return len([node for node in graph.nodes if node.op == "placeholder"]) == 1


def unusable(path: Path, error: Exception, batch: int = 0) -> ExportError:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    when = f" for a batch of {batch}" if batch else ""
    return ExportError(f"{path.name} cannot be run{when} ({reason[:200]}), so it was not kept; leave that form out")


RUNNERS: dict[str, Callable[[Path], Run]] = {".onnx": run_onnx, ".pt2": run_program}
"""By the suffix of a file."""
