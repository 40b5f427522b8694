"""Graphs of ONNX that a runtime carries out as it does an export, without the weights of one.

They are written from a `Trace` in milliseconds, where torch's exporter takes seconds for a network, and weigh a few
kilobytes: each weight is one number, which the runtime spreads out when it loads the graph. Times do not depend on
weights, as long as nothing overflows or comes near to 0: a weight is half the inverse of how many are added up. The
optimised graphs are those of `export.graphs` (tests/profiling/test_skeleton.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from typing import Any

from automl_kd.errors import ConfigError
from automl_kd.profiling.graph_writer import OPEN_SIZES, GraphWriter
from automl_kd.profiling.operators import first_side
from automl_kd.profiling.token_nodes import TOKEN_WRITERS
from automl_kd.profiling.tracing import CONSTANT, Operation, Sizes, TensorSlot, Trace

Written = str | list[str]


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
        if trace.of_texts and (opened := open_axes(operation, trace.inputs[0].shape)):
            writer.described.append(writer.describe(operation.output, opened))
    return writer.finish()


def open_axes(operation: Operation, tokens: Sizes) -> Mapping[int, str]:
    """Which axes of an output an export says to be of any size, where a runtime alone could not tell."""
    sizes = operation.output.shape
    if operation.name == "scaled_dot_product_attention":
        return {0: "batch", 2: "length"}
    return OPEN_SIZES if len(sizes) > 2 and sizes[:2] == tokens else {}


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
    arguments = operation.arguments
    if operation.name == "hardtanh":
        low, high = arguments.get("min_val", 0.0), arguments.get("max_val", 6.0)
    else:
        low, high = (arguments.get(f"{end}_val", arguments.get(end)) for end in ("min", "max"))
    if high is None:
        return writer.add("Max", [writer.name(arguments["input"]), writer.number(low, operation.output.numbers)])
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
        terms, numbers = one.shape[-1] if kind == "MatMul" else 1, operation.output.numbers
        names = [writer.cast(term, numbers, terms) for term in (one, other)]
        return writer.add(kind, [cut_table(writer, *pair) for pair in zip(names, (one, other), strict=True)])

    return write


def cut_table(writer: GraphWriter, name: str, term: Any) -> str:
    """A constant of one row for each token, as positions, is the beginning of a longer one."""
    rows = writer.trace.inputs[0].shape[1:2]
    if not (writer.trace.of_texts and isinstance(term, TensorSlot) and term.value == CONSTANT):
        return name
    if len(term.shape) != 2 or term.shape[:1] != rows:
        return name
    length = writer.once(1, partial(write_open_size, writer, 1))
    return writer.add("Slice", [name, writer.integers([0]), length, writer.integers([0])])


def write_unary(kind: str) -> Callable[[GraphWriter, Operation], Written]:
    return lambda writer, operation: writer.add(kind, [writer.name(operation.arguments["input"])])


def write_swish(writer: GraphWriter, operation: Operation) -> Written:
    given = writer.name(operation.arguments["input"])
    return writer.add("Mul", [given, writer.add("Sigmoid", [given])])


def write_hard_sigmoid(writer: GraphWriter, operation: Operation) -> Written:
    return writer.add("HardSigmoid", [writer.name(operation.arguments["input"])], alpha=1 / 6, beta=0.5)


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
    name, sizes = writer.name(operation.arguments["input"]), operation.output.shape
    tokens = writer.trace.inputs[0].shape
    if not (
        writer.trace.of_texts and open_axes(operation, tokens) and operation.arguments["input"].shape[:2] == tokens
    ):
        return writer.add("Reshape", [name, writer.integers(sizes)])
    first = [writer.once(axis, partial(write_open_size, writer, axis)) for axis in (0, 1)]
    shape = writer.once(sizes[2:], lambda: writer.add("Concat", [*first, writer.integers(sizes[2:])], axis=0))
    return writer.add("Reshape", [name, shape])


def write_open_size(writer: GraphWriter, axis: int) -> str:
    """That of texts in a batch or of tokens in a text, which the exporter asks of the mask."""
    return writer.add("Shape", [writer.names[writer.trace.inputs[-1].value]], start=axis, end=axis + 1)


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
    parts = [
        writer.add("Slice", [given, *map(writer.integers, ([place], [place + 1], [axis]))])
        for place in range(len(operation.outputs))
    ]
    return [writer.add("Squeeze", [part, writer.integers([axis])]) for part in parts]


def write_split(writer: GraphWriter, operation: Operation) -> Written:
    """`chunk` and `split`: parts along an axis, as many as it gave, of equal sizes or not."""
    given: TensorSlot = operation.arguments["input"]
    axis = int(operation.arguments.get("dim", 0)) % len(given.shape)
    sizes = [one.shape[axis] for one in operation.outputs]
    names = [f"part{len(writer.nodes)}_{place}" for place in range(len(sizes))]
    writer.add("Split", [writer.name(given), writer.integers(sizes)], names, axis=axis)
    return names


def write_item(writer: GraphWriter, operation: Operation) -> Written:
    """Slices and whole numbers of the first axes."""
    found = writer.name(operation.arguments["input"])
    index = operation.arguments["index"]
    dropped: list[int] = []
    added: list[int] = []
    for axis, one in enumerate(index if isinstance(index, list | tuple) else [index]):
        if isinstance(one, int):
            found = writer.add("Slice", [found, *map(writer.integers, ([one], [one + 1 or 2**62], [axis]))])
            dropped.append(axis)
        elif isinstance(one, slice) and one != slice(None):
            start, stop = one.start or 0, 2**62 if one.stop is None else one.stop
            found = writer.add(
                "Slice", [found, *map(writer.integers, ([start], [stop], [axis - len(added)], [one.step or 1]))]
            )
        elif one is None:
            added.append(axis)
        elif not isinstance(one, slice):
            raise ConfigError(
                f"students that index by {type(one).__name__} cannot be profiled; let them index by numbers and slices"
            )
    if dropped and added:
        raise ConfigError(
            "students that index by numbers and None at once cannot be profiled; let them do one each time"
        )
    found = writer.add("Unsqueeze", [found, writer.integers(added)]) if added else found
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
    **dict.fromkeys(("chunk", "split"), write_split),
    "__getitem__": write_item,
    "cat": write_concatenation,
    "pad": write_padding,
    "silu": write_swish,
    "hardsigmoid": write_hard_sigmoid,
    **{name: write_unary(kind) for name, kind in
       {"relu": "Relu", "hardswish": "HardSwish", "sigmoid": "Sigmoid", "gelu": "Gelu", "tanh": "Tanh",
        "logical_not": "Not"}.items()},
    **TOKEN_WRITERS,
    **{name: write_binary(kind) for name, kind in
       {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "matmul": "MatMul"}.items()},
}  # fmt: skip
"""What is written for each of torch's functions."""
