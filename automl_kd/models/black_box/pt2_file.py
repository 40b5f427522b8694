"""Programs of torch.export in .pt2 files.

`torch.export.load` resolves what the file names, so that a file is to be trusted as code is. A program is loaded once
in a process for each device.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from automl_kd.errors import ConfigError
from automl_kd.models.black_box.graph import GraphBatch, GraphInput, read_input, uncountable
from automl_kd.models.costs.multiply_adds import counting
from automl_kd.space import InputShape

COUNTED_LIBRARIES = {"aten", "prims", "quantized_decomposed"}
"""Libraries of operators whose products the counter knows, or that have none."""

TRAINING_FLAGS = {torch.ops.aten.batch_norm.default: 5, torch.ops.aten.dropout.default: 2}
"""The argument by which an operator is told that it is trained."""


class ExportedGraph:
    """The program in the file at `path`, a `Graph`; raise `ConfigError` for what is no such file or cannot teach."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        program = load_program(path)
        require_evaluation(self.name, program)
        self.params = sum(parameter.numel() for parameter in program.parameters())
        self.uncounted = foreign_operator(program)
        self.input = input_of_program(self.name, program)
        self.modules: dict[torch.device, nn.Module] = {}
        self.macs: dict[InputShape, int] = {}

    def run(self, images: Tensor) -> object:
        return self.module_on(images.device)(images)

    def module_on(self, device: torch.device) -> nn.Module:
        """The program as a module on `device`, frozen; whatever mode asks for it first."""
        if device not in self.modules:
            with torch.inference_mode(mode=False):
                program = move_to_device_pass(load_program(self.path), device)
                self.modules[device] = program.module().requires_grad_(False)
        return self.modules[device]

    def count_macs(self, shape: InputShape) -> int:
        if self.uncounted:
            raise uncountable(self.name, f"its operator {self.uncounted}")
        if shape not in self.macs:
            batch = self.input.least
            device = next(iter(self.modules), torch.device("cpu"))
            size = (batch, shape.channels, shape.height, shape.width)
            images = torch.zeros(size, dtype=self.input.dtype, device=device)
            self.module_on(device)  # it cannot be loaded where operations are counted
            with torch.no_grad(), counting() as counter:
                self.run(images)
            self.macs[shape] = counter.macs // batch
        return self.macs[shape]

    def describe_runtime(self) -> str:
        return f"torch {torch.__version__}"

    def identify_runtime(self, device: str) -> str:  # noqa: ARG002 - torch stands in the identity of all outputs
        return ""


def load_program(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise ConfigError(
            f"{path} is no program of torch.export; save it by torch.export.save(torch.export.export(network, "
            f"(images,)), {path.name!r})"
        )
    try:
        with without_tracebacks():
            return torch.export.load(path)
    except Exception as error:  # what torch raises depends on what is wrong with the file
        reason = str(error).splitlines()[0] if str(error) else ""
        raise ConfigError(
            f"{path} cannot be read as a program of torch.export ({type(error).__name__}: {reason}); save it by "
            f"torch.export.save with torch {torch.__version__}"
        ) from error


@contextmanager
def without_tracebacks() -> Iterator[None]:
    """Inside, torch.export logs nothing: what it would say stands in our own sentence."""
    logger = logging.getLogger("torch.export")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def require_evaluation(name: str, program: Any) -> None:
    """`ConfigError` for a network that was exported as it is trained: it would drop and normalise by the batch."""
    for node in program.graph.nodes:
        place = TRAINING_FLAGS.get(node.target, 0)
        if place and len(node.args) > place and node.args[place] is True:
            raise ConfigError(
                f"{name} was exported in training mode, as its {node.target.__name__.partition('.')[0]} shows; call "
                "network.eval() before torch.export.export"
            )


def foreign_operator(program: Any) -> str:
    """The first operator whose products the counter does not know; empty if there is none."""
    for module in program.graph_module.modules():
        for node in getattr(module, "graph", program.graph).nodes:
            if isinstance(node.target, torch._ops.HigherOrderOperator) and not str(node.target).startswith("wrap"):
                return str(node.target)
            if isinstance(node.target, torch._ops.OpOverload) and node.target.namespace not in COUNTED_LIBRARIES:
                return str(node.target)
    return ""


def input_of_program(name: str, program: Any) -> GraphInput:
    given = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    tensors = [node.meta["val"] for node in given if isinstance(node.meta.get("val"), Tensor)]
    if len(given) != 1 or len(tensors) != 1:
        raise ConfigError(f"{name} takes {len(given)} inputs where images alone were wanted; export it with one input")
    dims = tuple(size if isinstance(size, int) else None for size in tensors[0].shape)
    return read_input(name, dims, tensors[0].dtype, batch_of(program, tensors[0].shape[0] if dims else 1))


def batch_of(program: Any, size: Any) -> GraphBatch:
    """`size`: the first axis of the input, a number or a symbol with a range."""
    if isinstance(size, int):
        return GraphBatch(size, size)
    limits = program.range_constraints.get(size.node.expr)
    if limits is None:
        return GraphBatch()
    most = limits.upper
    return GraphBatch(max(1, int(limits.lower)), int(most) if most.is_Integer else None)
