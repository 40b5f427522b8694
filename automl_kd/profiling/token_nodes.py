"""Nodes of networks of texts, as torch's exporter has them: tokens, masks, embeddings, attention, recurrent layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from automl_kd.errors import ConfigError
from automl_kd.profiling.graph_writer import GraphWriter
from automl_kd.profiling.tracing import Operation, TensorSlot

LAST = 2**63 - 1

LSTM_WEIGHTS = ("weight of input", "weight of state", "bias of input", "bias of state")

EMBEDDED_TOKENS = 2
"""Rows of a table: those of other tokens than the measured ones are not read."""


def write_comparison(writer: GraphWriter, operation: Operation) -> str:
    given: TensorSlot = operation.arguments["input"]
    names = [writer.name(one, numbers=given.numbers) for one in (given, operation.arguments["other"])]
    equal = writer.add("Equal", names)
    return writer.add("Not", [equal]) if operation.name == "ne" else equal


def write_cast(writer: GraphWriter, operation: Operation) -> str:
    given = writer.name(operation.arguments["input"])
    return writer.add("Cast", [given], to=writer.kinds[operation.output.numbers])


def write_choice(writer: GraphWriter, operation: Operation) -> str:
    """`where`, and `masked_fill`, which is the same with a number."""
    arguments, numbers = operation.arguments, operation.output.numbers
    if operation.name == "where":
        condition, chosen, other = (arguments[name] for name in ("condition", "input", "other"))
    else:
        condition, chosen, other = (arguments[name] for name in ("mask", "value", "input"))
    return writer.add(
        "Where", [writer.name(condition), *(writer.name(one, numbers=numbers) for one in (chosen, other))]
    )


def write_running_sum(writer: GraphWriter, operation: Operation) -> str:
    axis = writer.number(operation.arguments["dim"], "int")
    return writer.add("CumSum", [writer.name(operation.arguments["input"]), axis])


def write_reduction(kind: str) -> Callable[[GraphWriter, Operation], str]:
    def write(writer: GraphWriter, operation: Operation) -> str:
        arguments, given = operation.arguments, operation.arguments["input"]
        name = writer.cast(given, operation.output.numbers)
        axes, keep = arguments["dim"], len(operation.output.shape) == len(given.shape)
        axes = [axes] if isinstance(axes, int) else list(axes)
        return writer.add(kind, [name, writer.integers(axes)], keepdims=int(keep))

    return write


def write_embedding(writer: GraphWriter, operation: Operation) -> str:
    table = writer.constant((EMBEDDED_TOKENS, operation.output.shape[-1]), 1.0)
    return writer.add("Gather", [table, writer.name(operation.arguments["input"])], axis=0)


def write_gather(writer: GraphWriter, operation: Operation) -> str:
    names = [writer.name(operation.arguments[name]) for name in ("input", "index")]
    return writer.add("GatherElements", names, axis=int(operation.arguments["dim"]))


def write_expansion(writer: GraphWriter, operation: Operation) -> str:
    sizes = writer.integers([1, *operation.output.shape[1:]])  # 1 keeps what is there, as for batches of any size
    return writer.add("Expand", [writer.name(operation.arguments["input"]), sizes])


def write_attention(writer: GraphWriter, operation: Operation) -> str:
    arguments = operation.arguments
    query, key, value = (writer.name(arguments[name]) for name in ("query", "key", "value"))
    scale = arguments["query"].shape[-1] ** -0.25  # of either, as in the export
    turned = writer.add("Mul", [turn_keys(writer, key), writer.number(scale)])
    scores = writer.add("MatMul", [writer.add("Mul", [query, writer.number(scale)]), turned])
    mask = arguments.get("attn_mask")
    if mask is None:
        return writer.add("MatMul", [writer.add("Softmax", [scores], axis=-1), value])
    added = writer.once(
        ("mask", mask.value),
        lambda: writer.add(
            "Where", [writer.name(mask), writer.number(0.0), writer.number(torch.finfo(torch.float32).min)]
        ),
    )
    shares = writer.add("Softmax", [writer.add("Add", [scores, added])], axis=-1)
    shares = writer.add("Where", [writer.add("IsNaN", [shares]), writer.number(0.0), shares])
    return writer.add("MatMul", [shares, value])


def ask_sizes(writer: GraphWriter, name: str) -> Callable[[int, int], str]:
    """Gives some sizes of a tensor. The exporter does not know them, and asks for them while the graph runs."""
    sizes = writer.add("Shape", [name])
    return lambda start, stop: writer.add("Slice", [sizes, writer.integers([start]), writer.integers([stop])])


def turn_keys(writer: GraphWriter, key: str) -> str:
    """Keys with their last two axes exchanged."""
    part = ask_sizes(writer, key)
    channels, tokens, rest = part(-1, LAST), part(-2, -1), part(-LAST, -2)
    flat = writer.add("Concat", [writer.integers([-1]), tokens, channels], axis=0)
    turned = writer.add("Transpose", [writer.add("Reshape", [key, flat])], perm=[0, 2, 1])
    return writer.add("Reshape", [turned, writer.add("Concat", [rest, channels, tokens], axis=0)])


def write_lstm(writer: GraphWriter, operation: Operation) -> list[str]:
    """One direction of one layer, whose texts come first: (batch, tokens, channels).

    `ConfigError` for more of them at once.
    """
    given, weights = operation.arguments["input"], operation.arguments["params"]
    if len(weights) != len(LSTM_WEIGHTS) or operation.output.shape[:2] != given.shape[:2]:
        raise ConfigError(
            "students with an LSTM of several layers or directions in one call cannot be profiled; let them call each "
            "by itself, as search_spaces.bilstm does"
        )
    hidden, channels = operation.output.shape[-1], given.shape[-1]
    tokens_first = writer.add("Transpose", [writer.name(given)], perm=[1, 0, 2])
    terms = [
        writer.constant((1, 4 * hidden, channels), 0.5 / channels),
        writer.constant((1, 4 * hidden, hidden), 0.5 / hidden),
        writer.constant((1, 8 * hidden), 0.01),
    ]
    made = [f"states{len(writer.nodes)}_{place}" for place in range(3)]
    writer.add("LSTM", [tokens_first, *terms], made, hidden_size=hidden)
    states = writer.add("Transpose", made[:1], perm=[0, 2, 1, 3])
    part = ask_sizes(writer, states)
    both = writer.add("Reshape", [writer.add("Mul", [part(2, 3), part(3, 4)]), writer.integers([-1])])  # directions
    sizes = writer.add("Concat", [part(0, 1), part(1, 2), both], axis=0)
    flat = writer.add("Reshape", [states, sizes])
    return [writer.add("Transpose", [flat], perm=[1, 0, 2]), *made[1:]]


TOKEN_WRITERS: Mapping[str, Callable[[GraphWriter, Operation], Any]] = {
    "eq": write_comparison,
    "ne": write_comparison,
    "to": write_cast,
    "float": write_cast,
    "where": write_choice,
    "masked_fill": write_choice,
    "cumsum": write_running_sum,
    "sum": write_reduction("ReduceSum"),
    "amax": write_reduction("ReduceMax"),
    "embedding": write_embedding,
    "gather": write_gather,
    "expand": write_expansion,
    "scaled_dot_product_attention": write_attention,
    "lstm": write_lstm,
}
"""What is written for each of torch's functions that networks of texts use and those of images do not."""
