"""The operators of a network as a runtime carries them out: operations that it fuses are one.

A convolution takes in the batch normalisation, the addition and the activation that follow it and nothing else reads,
as onnxruntime 1.32 does on the processor (by its optimised graphs of `mobile` and `resnet` students). What only names
numbers anew, views and reshapes, is no operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from automl_kd.profiling.tracing import CONSTANT, Operation, Sizes, TensorSlot, Trace, ValueUses, find_operands

FUSED_ACTIVATIONS = frozenset({"relu", "hardtanh", "hardswish", "sigmoid", "hardsigmoid"})

FREE = frozenset({"view", "reshape", "flatten", "squeeze", "unsqueeze", "unbind", "size"})

MOVES = frozenset(
    {"transpose", "permute", "cat", "chunk", "split", "pad", "expand", "__getitem__", "repeat", "roll", "gather"}
)
"""Functions that only move numbers: one kind of operator."""

SAME_COST = {"adaptive_avg_pool2d": "mean", "sub": "add", "div": "mul", "clamp": "hardtanh", "interpolate": "resize"}
"""Functions that cost what another does."""


@dataclass(frozen=True, order=True)
class Operator:
    """A layer with its shapes. `inputs`: of what depends on the images; `output`: of what it puts out.

    `kind`: "pointwise", "conv", "grouped", "depthwise" or "pixel" (on one pixel) of convolutions, else what it does.
    `weights`: numbers in it that are learned. `macs`: multiply-adds, 0 of what multiplies no matrices. `residual`: of a
    convolution, whether its output is added to another map. `groups`, `kernel`, `stride`: of convolutions and pooling.
    """

    kind: str
    inputs: tuple[Sizes, ...]
    output: Sizes
    kernel: int = 0
    stride: int = 0
    groups: int = 1
    weights: int = 0
    macs: int = 0
    activation: str = ""
    residual: bool = False

    @property
    def entering(self) -> int:
        """MeasuredTimes that are read, weights aside."""
        return sum(map(prod, self.inputs))

    @property
    def leaving(self) -> int:
        return prod(self.output)

    def to_record(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> Operator:
        """As `to_record` wrote it; `KeyError`, `TypeError` or `ValueError` for another record."""
        shapes = tuple(tuple(map(int, sizes)) for sizes in record["inputs"])
        return Operator(**{**record, "inputs": shapes, "output": tuple(map(int, record["output"]))})


@dataclass(frozen=True, eq=False)
class OperatorGroup:
    """An operator and the operations that it carries out, in their order."""

    operator: Operator
    operations: tuple[Operation, ...]


def list_operators(trace: Trace) -> list[OperatorGroup]:
    """What a runtime runs, in its order, operations of no cost left out.

    Those on tokens and masks are left out too: they take the same in all students, and count in what a pass takes.
    """
    uses, done, found = ValueUses.of(trace), set[int](), []
    readers = {operand.value: one for one in trace.operations for operand in one.operands}
    for operation in trace.operations:
        if id(operation) in done or operation.name in FREE or operation.output.numbers != "float":
            continue
        group = [operation]
        if operation.name == "conv2d":
            group += follow_convolution(operation, uses, readers)
        done.update(map(id, group))
        found.append(OperatorGroup(describe_operator(group), tuple(group)))
    return found


def follow_convolution(operation: Operation, uses: ValueUses, readers: Mapping[int, Operation]) -> list[Operation]:
    """The operations after a convolution that become a part of it: one of each kind, in this order, or none."""
    found: list[Operation] = []
    for names in ({"batch_norm"}, {"add"}, FUSED_ACTIVATIONS):
        last = found[-1] if found else operation
        after = readers.get(last.output.value)
        if after is None or after.name not in names or uses.uses[last.output.value] != 1:
            continue
        if after.name == "add" and not joins_maps(after, last.output, uses):
            continue
        found.append(after)
    return found


def joins_maps(addition: Operation, own: TensorSlot, uses: ValueUses) -> bool:
    """Whether two maps of one shape are added, and no convolution that runs later takes the addition in."""
    others = [one for one in addition.operands if one.value != own.value]
    if len(others) != 1 or others[0].shape != own.shape:
        return False
    other = others[0]
    return own.value > other.value or uses.sole_maker(other) is None


def describe_operator(group: list[Operation]) -> Operator:
    first, names = group[0], {one.name for one in group[1:]}
    residual = [one for one in group[1:] if one.name == "add"]
    extra = [one for add in residual for one in add.operands if one.shape == add.output.shape][-1:]
    inputs = tuple(one.shape for one in [*first.operands, *extra])
    activation = next((name for name in names if name in FUSED_ACTIVATIONS), "")
    output = group[-1].output.shape
    if first.name == "conv2d":
        return describe_convolution(first, inputs, output, activation, residual=bool(residual))
    constants = [one for one in find_operands(first.arguments.values()) if one.value == CONSTANT]
    kind = "copy" if first.name in MOVES else SAME_COST.get(first.name, first.name)
    return Operator(
        kind=kind,
        inputs=inputs,
        output=output,
        kernel=first_side(first.arguments.get("kernel_size", 0)),
        stride=first_side(first.arguments.get("stride") or first.arguments.get("kernel_size", 0)),
        weights=0 if kind == "embedding" else sum(prod(one.shape) for one in constants),  # few rows of it are read
        macs=count_macs(kind, inputs[0], output),
    )


def count_macs(kind: str, given: Sizes, output: Sizes) -> int:
    """Of anything but convolutions; `given` are the sizes of what is read first."""
    if kind in {"linear", "matmul"}:
        return prod(output) * given[-1]
    if kind == "scaled_dot_product_attention":  # scores, and values that are weighted by them
        return prod(given[:-1]) * given[-2] * (given[-1] + output[-1])
    if kind == "lstm":  # the gates of one direction
        return 4 * prod(output) * (given[-1] + output[-1])
    return 0


def describe_convolution(
    operation: Operation, inputs: tuple[Sizes, ...], output: Sizes, activation: str, *, residual: bool
) -> Operator:
    arguments = operation.arguments
    weight: TensorSlot = arguments["weight"]
    groups, kernel = int(arguments.get("groups", 1)), weight.shape[-1]
    if groups > 1:
        kind = "depthwise" if groups == weight.shape[0] else "grouped"
    elif output[2] * output[3] == 1:
        kind = "pixel"
    else:
        kind = "pointwise" if kernel == 1 else "conv"
    return Operator(
        kind=kind,
        inputs=inputs,
        output=output,
        kernel=kernel,
        stride=first_side(arguments.get("stride", 1)),
        groups=groups,
        weights=prod(weight.shape),
        macs=prod(weight.shape) * output[0] * output[2] * output[3],
        activation=activation,
        residual=residual,
    )


def first_side(size: Any) -> int:
    """A number for both sides, or the first of two."""
    return int(size[0]) if isinstance(size, list | tuple) else int(size)
