"""Graphs of ONNX that a runtime carries out as it does an export, without the weights of one.

They are written from a `Trace` in milliseconds, where torch's exporter takes seconds for a network, and weigh a few
kilobytes: each weight is one number, which the runtime spreads out when it loads the graph. Times do not depend on
weights, as long as nothing overflows or comes near to 0: a weight is half the inverse of how many are added up. The
optimised graphs are those of `export.graphs` (tests/profiling/test_skeleton.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from automl_kd.errors import ConfigError
from automl_kd.models.foreign.packages import library
from automl_kd.profiling.operators import first_side
from automl_kd.profiling.tracing import CONSTANT, Operation, Sizes, TensorSlot, Trace, ValueUses

OPSET = 20
"""The one that torch's exporter writes."""

IR_VERSION = 10


class GraphWriter:
    """Nodes and small numbers of a graph that is being written."""

    def __init__(self, trace: Trace) -> None:
        onnx = library("onnx", "onnx")
        self.trace, self.uses = trace, ValueUses.of(trace)
        self.helper, self.types = onnx.helper, onnx.TensorProto
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.names: dict[int, str] = {one.value: f"input{place}" for place, one in enumerate(trace.inputs)}

    def add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Add a node; the name of its first output."""
        made = list(outputs) or [f"{kind.lower()}{len(self.nodes)}"]
        self.nodes.append(self.helper.make_node(kind, list(inputs), made, f"node{len(self.nodes)}", **attributes))
        return made[0]

    def integers(self, values: Sequence[int]) -> str:
        return self.initializer(self.types.INT64, [len(values)], list(values))

    def number(self, value: float) -> str:
        return self.initializer(self.types.FLOAT, [], [float(value)])

    def initializer(self, kind: int, sizes: list[int], values: list[Any]) -> str:
        name = f"number{len(self.initializers)}"
        self.initializers.append(self.helper.make_tensor(name, kind, sizes, values))
        return name

    def constant(self, shape: Sizes, value: float) -> str:
        """A tensor of equal numbers; no two are quite equal, as runtimes compute equal things once."""
        value *= 1 + len(self.nodes) * 1e-5
        return self.add(
            "ConstantOfShape",
            [self.integers(shape)],
            value=self.helper.make_tensor("value", self.types.FLOAT, [1], [value]),
        )

    def name(self, operand: Any, terms: int = 1) -> str:
        """What an argument is called. `terms`: how many products with a constant are added up."""
        if not isinstance(operand, TensorSlot):
            return self.number(operand)
        return self.constant(operand.shape, 1 / terms) if operand.value == CONSTANT else self.names[operand.value]

    def finish(self) -> Any:
        make = self.helper.make_tensor_value_info
        inputs = [make(self.names[one.value], self.types.FLOAT, one.shape) for one in self.trace.inputs]
        outputs = [make(self.names[one.value], self.types.FLOAT, one.shape) for one in self.trace.outputs]
        graph = self.helper.make_graph(self.nodes, "skeleton", inputs, outputs, self.initializers)
        opsets = [self.helper.make_opsetid("", OPSET)]
        return self.helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def make_skeleton(trace: Trace) -> Any:
    """The graph of `trace` as a model of ONNX; `ConfigError` for an operation that is in none of the tables here."""
    writer = GraphWriter(trace)
    for operation in trace.operations:
        if operation.name not in WRITERS:
            raise ConfigError(
                f"students that use torch's function {operation.name!r} cannot be profiled; leave out [budget] profile "
                "and budget.latency_ms, or let their forward use convolutions, pooling, products and sums"
            )
        made = WRITERS[operation.name](writer, operation)
        names = [made] if isinstance(made, str) else made
        writer.names.update(zip((one.value for one in operation.outputs), names, strict=True))
    return writer.finish()


Written = str | list[str]


def write_convolution(writer: GraphWriter, operation: Operation) -> Written:
    arguments = operation.arguments
    weight: TensorSlot = arguments["weight"]
    padding = pair_of(arguments.get("padding", 0))
    return writer.add(
        "Conv",
        [
            writer.name(arguments["input"]),
            writer.constant(weight.shape, 0.5 / prod(weight.shape[1:])),
            writer.constant(weight.shape[:1], 0.01),
        ],
        strides=pair_of(arguments.get("stride", 1)),
        pads=[*padding, *padding],
        dilations=pair_of(arguments.get("dilation", 1)),
        group=int(arguments.get("groups", 1)),
    )


def write_norm(writer: GraphWriter, operation: Operation) -> Written:
    """Nothing after a convolution that nothing else reads, into whose weights exporters take it."""
    given: TensorSlot = operation.arguments["input"]
    maker = writer.uses.sole_maker(given)
    if maker is not None and maker.name == "conv2d":
        return writer.names[given.value]
    vectors = [writer.constant((given.shape[1],), value) for value in (1.0, 0.0, 0.0, 1.0)]
    return writer.add("BatchNormalization", [writer.name(given), *vectors])


def write_clip(writer: GraphWriter, operation: Operation) -> Written:
    low, high = operation.arguments.get("min_val", 0.0), operation.arguments.get("max_val", 6.0)
    limits = ["" if limit is None else writer.number(limit) for limit in (low, high)]
    return writer.add("Clip", [writer.name(operation.arguments["input"]), *limits])


def write_linear(writer: GraphWriter, operation: Operation) -> Written:
    arguments = operation.arguments
    weight, bias = arguments["weight"], arguments.get("bias")
    given = writer.name(arguments["input"])
    if len(operation.output.shape) == 2:
        terms = [writer.constant(weight.shape, 0.5 / weight.shape[1])]
        terms += [writer.constant(bias.shape, 0.01)] if bias is not None else []
        return writer.add("Gemm", [given, *terms], transB=1)
    made = writer.add("MatMul", [given, writer.constant((weight.shape[1], weight.shape[0]), 0.5 / weight.shape[1])])
    return made if bias is None else writer.add("Add", [made, writer.constant(bias.shape, 0.01)])


def write_binary(kind: str) -> Callable[[GraphWriter, Operation], Written]:
    def write(writer: GraphWriter, operation: Operation) -> Written:
        one, other = operation.arguments["input"], operation.arguments["other"]
        terms = one.shape[-1] if kind == "MatMul" else 1
        return writer.add(kind, [writer.name(one, terms), writer.name(other, terms)])

    return write


def write_unary(kind: str) -> Callable[[GraphWriter, Operation], Written]:
    return lambda writer, operation: writer.add(kind, [writer.name(operation.arguments["input"])])


def write_swish(writer: GraphWriter, operation: Operation) -> Written:
    given = writer.name(operation.arguments["input"])
    return writer.add("Mul", [given, writer.add("Sigmoid", [given])])


def write_softmax(writer: GraphWriter, operation: Operation) -> Written:
    return writer.add("Softmax", [writer.name(operation.arguments["input"])], axis=int(operation.arguments["dim"]))


def write_layer_norm(writer: GraphWriter, operation: Operation) -> Written:
    given: TensorSlot = operation.arguments["input"]
    sizes = tuple(operation.arguments["normalized_shape"])
    vectors = [writer.constant(sizes, value) for value in (1.0, 0.0)]
    return writer.add("LayerNormalization", [writer.name(given), *vectors], axis=-len(sizes), epsilon=1e-6)


def write_mean(writer: GraphWriter, operation: Operation) -> Written:
    arguments = operation.arguments
    if operation.name == "adaptive_avg_pool2d" and operation.output.shape[2:] != (1, 1):
        raise ConfigError(
            f"students that pool to {operation.output.shape[2:]} pixels cannot be profiled; let them pool to one, or "
            "leave out [budget] profile"
        )
    axes = [2, 3] if operation.name == "adaptive_avg_pool2d" else arguments["dim"]
    keep = int(len(operation.output.shape) == len(arguments["input"].shape))
    axes = [axes] if isinstance(axes, int) else list(axes)
    return writer.add("ReduceMean", [writer.name(arguments["input"]), writer.integers(axes)], keepdims=keep)


def write_pool(kind: str) -> Callable[[GraphWriter, Operation], Written]:
    def write(writer: GraphWriter, operation: Operation) -> Written:
        arguments = operation.arguments
        kernel, padding = pair_of(arguments["kernel_size"]), pair_of(arguments.get("padding", 0))
        stride = pair_of(arguments.get("stride") or kernel)
        extra: dict[str, Any] = {}
        if kind == "AveragePool":
            extra["count_include_pad"] = int(arguments.get("count_include_pad", True))
        given = writer.name(arguments["input"])
        return writer.add(
            kind,
            [given],
            kernel_shape=kernel,
            strides=stride,
            pads=[*padding, *padding],
            ceil_mode=int(arguments.get("ceil_mode", False)),
            **extra,
        )

    return write


def write_resize(writer: GraphWriter, operation: Operation) -> Written:
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(str(operation.arguments.get("mode", "nearest")), "nearest")
    sizes = writer.integers(operation.output.shape)
    corners = "align_corners" if operation.arguments.get("align_corners") else "half_pixel"
    return writer.add(
        "Resize",
        [writer.name(operation.arguments["input"]), "", "", sizes],
        mode=mode,
        coordinate_transformation_mode="asymmetric" if mode == "nearest" else corners,
        nearest_mode="floor",
    )


def write_reshape(writer: GraphWriter, operation: Operation) -> Written:
    given = writer.name(operation.arguments["input"])
    return writer.add("Reshape", [given, writer.integers(operation.output.shape)])


def write_transpose(writer: GraphWriter, operation: Operation) -> Written:
    given: TensorSlot = operation.arguments["input"]
    order = list(range(len(given.shape)))
    if operation.name == "permute":
        rest = [value for key, value in operation.arguments.items() if key != "input"]
        order = list(rest[0]) if isinstance(rest[0], list | tuple) else rest
    else:
        one, other = operation.arguments["dim0"], operation.arguments["dim1"]
        order[one], order[other] = order[other], order[one]
    return writer.add("Transpose", [writer.name(given)], perm=[place % len(order) for place in order])


def write_unbind(writer: GraphWriter, operation: Operation) -> Written:
    given = writer.name(operation.arguments["input"])
    axis = int(operation.arguments.get("dim", 0))
    return [
        writer.add("Gather", [given, writer.initializer(writer.types.INT64, [], [place])], axis=axis)
        for place in range(len(operation.outputs))
    ]


def write_item(writer: GraphWriter, operation: Operation) -> Written:
    """Slices and whole numbers of the first axes."""
    found = writer.name(operation.arguments["input"])
    index = operation.arguments["index"]
    dropped = []
    for axis, one in enumerate(index if isinstance(index, list | tuple) else [index]):
        if isinstance(one, int):
            found = writer.add("Slice", [found, *map(writer.integers, ([one], [one + 1 or 2**62], [axis]))])
            dropped.append(axis)
        elif isinstance(one, slice) and one != slice(None):
            start, stop = one.start or 0, 2**62 if one.stop is None else one.stop
            found = writer.add("Slice", [found, *map(writer.integers, ([start], [stop], [axis], [one.step or 1]))])
        elif not isinstance(one, slice):
            raise ConfigError(
                f"students that index by {type(one).__name__} cannot be profiled; let them index by numbers and slices"
            )
    return writer.add("Squeeze", [found, writer.integers(dropped)]) if dropped else found


def write_concatenation(writer: GraphWriter, operation: Operation) -> Written:
    names = [writer.name(one) for one in operation.arguments["tensors"]]
    return writer.add("Concat", names, axis=int(operation.arguments.get("dim", 0)))


def write_padding(writer: GraphWriter, operation: Operation) -> Written:
    axes, pads = len(operation.output.shape), list(operation.arguments["pad"])
    before, after = [0] * axes, [0] * axes
    for place in range(len(pads) // 2):
        before[-1 - place], after[-1 - place] = pads[2 * place], pads[2 * place + 1]
    return writer.add("Pad", [writer.name(operation.arguments["input"]), writer.integers([*before, *after])])


def pair_of(size: Any) -> list[int]:
    return [int(one) for one in size] if isinstance(size, list | tuple) else [first_side(size)] * 2


WRITERS: Mapping[str, Callable[[GraphWriter, Operation], Written]] = {
    "conv2d": write_convolution,
    "batch_norm": write_norm,
    "hardtanh": write_clip,
    "clamp": write_clip,
    "linear": write_linear,
    "softmax": write_softmax,
    "layer_norm": write_layer_norm,
    "adaptive_avg_pool2d": write_mean,
    "mean": write_mean,
    "avg_pool2d": write_pool("AveragePool"),
    "max_pool2d": write_pool("MaxPool"),
    "interpolate": write_resize,
    **dict.fromkeys(("view", "reshape", "flatten", "squeeze", "unsqueeze"), write_reshape),
    **dict.fromkeys(("transpose", "permute"), write_transpose),
    "unbind": write_unbind,
    "__getitem__": write_item,
    "cat": write_concatenation,
    "pad": write_padding,
    "silu": write_swish,
    **{name: write_unary(kind) for name, kind in
       {"relu": "Relu", "hardswish": "HardSwish", "sigmoid": "Sigmoid", "gelu": "Gelu"}.items()},
    **{name: write_binary(kind) for name, kind in
       {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "matmul": "MatMul"}.items()},
}  # fmt: skip
"""What is written for each of torch's functions."""
