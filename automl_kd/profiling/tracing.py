"""What a network does with a batch of inputs, operation by operation, from shapes alone: nothing is computed.

The calls that its forward function makes are listed as torch's exporter sees them, a matrix product as one product
and not as the views and products of which a kernel makes it. Tensors that do not depend on the inputs are constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from automl_kd.errors import ConfigError
from automl_kd.export.graphs import TextGraph
from automl_kd.models.costs.cost import evaluating
from automl_kd.models.foreign.adoption import logits_of
from automl_kd.registry import name_type
from automl_kd.space import Architecture, InputShape, SearchSpace, TextShape, check_architecture

Sizes = tuple[int, ...]


class TensorSlot(NamedTuple):
    """A tensor: the number of the value that it is, -1 for a constant, its shape, and "float", "int" or "bool"."""

    value: int
    shape: Sizes
    numbers: str = "float"


CONSTANT = -1


@dataclass(frozen=True, eq=False)
class Operation:
    """A call. `name`: of torch's function, without the marks of its in-place and operator forms. `arguments`: by name,
    tensors as `TensorSlot`.
    """

    name: str
    arguments: Mapping[str, Any]
    outputs: tuple[TensorSlot, ...]

    @property
    def output(self) -> TensorSlot:
        return self.outputs[0]

    @property
    def operands(self) -> list[TensorSlot]:
        """The tensors among the arguments that depend on the inputs."""
        return [one for one in find_operands(self.arguments.values()) if one.value != CONSTANT]


@dataclass(frozen=True, eq=False)
class Trace:
    """`inputs`, `outputs`: values that are given and returned. `operations`: in the order in which they run.

    `of_texts`: whether it takes tokens and a mask, of which an export leaves the length open.
    """

    inputs: tuple[TensorSlot, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[TensorSlot, ...]
    of_texts: bool = False


def find_operands(found: Any) -> Iterator[TensorSlot]:
    for one in found:
        if isinstance(one, TensorSlot):
            yield one
        elif isinstance(one, list):
            yield from find_operands(one)


SIGNATURES: Mapping[str, Sequence[str]] = {
    "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "batch_norm": ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    "linear": ("input", "weight", "bias"),
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "hardtanh": ("input", "min_val", "max_val", "inplace"),
    "clamp": ("input", "min_val", "max_val"),
    "adaptive_avg_pool2d": ("input", "output_size"),
    "avg_pool2d": ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "mean": ("input", "dim", "keepdim"),
    "softmax": ("input", "dim"),
    "flatten": ("input", "start_dim", "end_dim"),
    "transpose": ("input", "dim0", "dim1"),
    "unbind": ("input", "dim"),
    "chunk": ("input", "chunks", "dim"),
    "split": ("input", "split_size", "dim"),
    "cat": ("tensors", "dim"),
    "pad": ("input", "pad", "mode", "value"),
    "__getitem__": ("input", "index"),
    "gelu": ("input", "approximate"),
    "interpolate": ("input", "size", "scale_factor", "mode", "align_corners"),
    "embedding": ("input", "weight"),
    "scaled_dot_product_attention": ("query", "key", "value", "attn_mask"),
    "lstm": ("input", "hx", "params"),
    "masked_fill": ("input", "mask", "value"),
    "where": ("condition", "input", "other"),
    "gather": ("input", "dim", "index"),
    **dict.fromkeys(("sum", "cumsum", "amax"), ("input", "dim", "keepdim")),
    **dict.fromkeys(("add", "sub", "mul", "div", "matmul", "eq", "ne"), ("input", "other")),
}
"""Names of arguments, as far as they matter; of other functions the first is the input and the rest are numbers."""

SAME_NAMES = {
    "__add__": "add", "__radd__": "add", "__iadd__": "add", "__mul__": "mul", "__rmul__": "mul", "__imul__": "mul",
    "__sub__": "sub", "__truediv__": "div", "true_divide": "div", "__matmul__": "matmul", "bmm": "matmul",
    "relu6": "hardtanh", "concat": "cat", "swish": "silu", "clamp_min": "relu", "__eq__": "eq", "__ne__": "ne",
    "__invert__": "logical_not", "bitwise_not": "logical_not",
    **dict.fromkeys(("long", "int", "bool", "half", "type_as"), "to"),
}  # fmt: skip

UNCHANGED = frozenset({"dropout", "contiguous", "clone", "detach", "float", "alpha_dropout"})
"""Functions that give back what they are given, in evaluation mode."""

SAME_SHAPE = frozenset({"batch_norm", "relu", "hardtanh", "hardswish", "silu", "sigmoid", "hardsigmoid", "gelu"})
"""Functions whose output has the shape of their input."""


BROADCAST = frozenset({"add", "sub", "mul", "div"})

INITIALISERS = frozenset(
    {
        *("normal_", "uniform_", "zeros_", "ones_", "fill_", "zero_", "trunc_normal_", "constant_"),
        *("kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_"),
    }
)
"""Functions that only set the numbers of a tensor."""


class WithoutDraws(TorchFunctionMode):
    """Inside, tensors without numbers are not initialised, which takes half of the time of building a network."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = args[0] if args else kwargs.get("tensor")
        if getattr(func, "__name__", "") in INITIALISERS and isinstance(given, Tensor) and given.is_meta:
            return given
        return func(*args, **kwargs)


class Recorder(TorchFunctionMode):
    """Inside, calls of torch's functions with tensors that depend on `inputs` become operations."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.values: dict[int, int] = {id(one): place for place, one in enumerate(inputs)}
        self.kept: list[Tensor] = [*inputs]  # an id is a tensor's as long as it lives
        self.operations: list[Operation] = []
        self.count = len(inputs)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = plain_name(func)
        given = [self.describe(one) for one in args]
        named = {key: self.describe(one) for key, one in kwargs.items()}
        live = [one for one in find_operands([*given, *named.values()]) if one.value != CONSTANT]
        made = shape_only(name, args, kwargs) if live else None
        made = func(*args, **kwargs) if made is None else made
        if live and (tensors := tensors_of(made)):
            signature = SIGNATURES.get(name, ("input",))
            positions = [*signature, *(f"extra{place}" for place in range(len(signature), len(given)))]
            self.note(name, dict(zip(positions, given, strict=False)) | named, tensors, live[0])
        return made

    def describe(self, one: Any) -> Any:
        if isinstance(one, Tensor):
            return TensorSlot(self.values.get(id(one), CONSTANT), tuple(one.shape), name_numbers(one))
        if isinstance(one, list | tuple) and any(isinstance(item, Tensor) for item in one):
            return [self.describe(item) for item in one]
        return one

    def note(self, name: str, arguments: Mapping[str, Any], tensors: list[Tensor], source: TensorSlot) -> None:
        self.kept += tensors
        unchanged = name in UNCHANGED or (name == "__getitem__" and takes_all(arguments, tensors[0]))
        if unchanged and name_numbers(tensors[0]) == source.numbers:
            self.values[id(tensors[0])] = source.value
            return
        for tensor in tensors:
            self.values[id(tensor)] = self.count
            self.count += 1
        outputs = tuple(self.describe(tensor) for tensor in tensors)
        self.operations.append(Operation(name, arguments, outputs))


def takes_all(arguments: Mapping[str, Any], made: Tensor) -> bool:
    """Whether an index by slices, as `x[:, :channels]`, leaves nothing out."""
    index = arguments["index"] if isinstance(arguments["index"], tuple) else (arguments["index"],)
    slices = all(isinstance(one, slice) or one is ... for one in index)
    return slices and arguments["input"].shape == tuple(made.shape)


def name_numbers(tensor: Tensor) -> str:
    if tensor.dtype == torch.bool:
        return "bool"
    return "float" if tensor.is_floating_point() else "int"


def plain_name(func: Callable[..., Any]) -> str:
    name = getattr(func, "__name__", str(func))
    if not name.startswith("__"):
        name = name.rstrip("_").lstrip("_")
    return SAME_NAMES.get(name, name)


def tensors_of(made: Any) -> list[Tensor]:
    if isinstance(made, Tensor):
        return [made]
    return [one for one in made if isinstance(one, Tensor)] if isinstance(made, list | tuple) else []


def shape_only(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The output of frequent functions, of whose rules for shapes torch's own are slow; None for others."""
    if not args or not isinstance(args[0], Tensor) or args[0].device.type != "meta" or not args[0].is_floating_point():
        return None
    if name in SAME_SHAPE:
        return torch.empty_like(args[0])
    if name in BROADCAST and len(args) == 2:
        other = args[1].shape if isinstance(args[1], Tensor) else ()
        return torch.empty(torch.broadcast_shapes(args[0].shape, other), device="meta")  # type: ignore[no-untyped-call]
    if name != "conv2d" or len(args) != 7 or kwargs or isinstance(args[4], str):
        return None
    images, weight, _, stride, padding, dilation, _ = args
    sides = [
        (size + 2 * pad - wide * (kernel - 1) - 1) // step + 1
        for size, kernel, step, pad, wide in zip(
            images.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True
        )
    ]
    return torch.empty((len(images), len(weight), *sides), device=images.device)


def trace_network(model: nn.Module, shape: InputShape, batch: int = 1) -> Trace:
    """The operations of `model`, in evaluation mode, for `batch` inputs of `shape`, on the device of its weights.

    Of texts those of their export, which takes tokens and a mask. `ConfigError` if it returns no logits.
    """
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    blank = shape.blank(batch, torch.empty(0, device=device))
    texts = isinstance(shape, TextShape)
    inputs = (blank, torch.ones_like(blank)) if texts else (blank,)
    recorder = Recorder(inputs)
    with evaluating(model), torch.no_grad(), recorder:
        made = (TextGraph(model, shape.padding) if isinstance(shape, TextShape) else model)(*inputs)
    logits = logits_of(made)
    if logits is None or id(logits) not in recorder.values:
        raise ConfigError(
            f"{name_type(model)} cannot be profiled: its logits are none of the tensors that torch's functions gave; "
            "let its forward return logits"
        )
    output = recorder.describe(logits)
    slots = tuple(map(recorder.describe, inputs))
    return Trace(slots, needed_operations(recorder.operations, output), (output,), of_texts=texts)


def needed_operations(operations: Sequence[Operation], output: TensorSlot) -> tuple[Operation, ...]:
    """Those of which `output` is made; maps that are there for whoever listens are left out, as exporters do."""
    wanted, found = {output.value}, []
    for operation in reversed(operations):
        if wanted.intersection(one.value for one in operation.outputs):
            found.append(operation)
            wanted.update(one.value for one in operation.operands)
    return tuple(reversed(found))


def trace_architecture(space: SearchSpace, architecture: Architecture, shape: InputShape, batch: int = 1) -> Trace:
    """The operations of a point of `space`, whose network is built without weights where it can be.

    `InfeasibleArchitectureError` for a point outside the space. Random state stays.
    """
    check_architecture(space, architecture)
    values = architecture.as_dict()
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"), WithoutDraws():
                model = space.build(values, shape)
            return trace_network(model, shape, batch)
        except (NotImplementedError, RuntimeError, TypeError, ValueError):  # it asks for numbers, which meta has not
            with torch.device("cpu"):
                model = space.build(values, shape)
            return trace_network(model, shape, batch)


@dataclass
class ValueUses:
    """How often each value is used, and which operation gives it."""

    uses: dict[int, int] = field(default_factory=dict)
    makers: dict[int, Operation] = field(default_factory=dict)

    @staticmethod
    def of(trace: Trace) -> ValueUses:
        found = ValueUses({one.value: 1 for one in trace.outputs})
        for operation in trace.operations:
            found.makers.update({one.value: operation for one in operation.outputs})
            for operand in operation.operands:
                found.uses[operand.value] = found.uses.get(operand.value, 0) + 1
        return found

    def sole_maker(self, operand: TensorSlot) -> Operation | None:
        """The operation that gives `operand`, if nothing else uses it."""
        return self.makers.get(operand.value) if self.uses.get(operand.value) == 1 else None
