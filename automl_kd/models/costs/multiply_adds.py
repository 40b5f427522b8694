"""Multiply-adds of whatever runs, by the shapes of its operations and not by the kernels that carry them out.

torch's counter knows convolutions and matrix products. What a kernel does in one piece on some device and by matrix
products on another is counted here as those products: attention is taken apart, recurrent layers have a formula. So
one forward pass counts the same on the processor, on CUDA, and on tensors that have nothing but a shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from automl_kd.models.costs.composed import without_fused_attention

aten_ops = torch.ops.aten
Shape = Sequence[int]


@dataclass(frozen=True, eq=False)
class Counter:
    """What ran since `counting` was entered."""

    flops: FlopCounterMode

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and products of matrices and vectors; pooling, norms and sums count nothing."""
        return int(self.flops.get_total_flops()) // 2


@contextmanager
def counting() -> Iterator[Counter]:
    """Count inside, forward passes and backward ones."""
    flops = FlopCounterMode(display=False, custom_mapping={**FORMULAS, **WHOLE})
    flops.mod_tracker = NoModules()  # type: ignore[assignment]  # all that is read of it
    with without_fused_attention(), flops:
        yield Counter(flops)


class NoModules:
    """Stands where torch's counter keeps which modules run, for sums by module; that takes half of a count."""

    parents = ("Global",)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def nothing(*_: Any, **__: Any) -> int:
    return 0


# Formulas give operations, two for a multiply-add, from the shapes of an operation's arguments.


def dot_cost(one: Shape, _other: Shape, **_: Any) -> int:
    return 2 * prod(one)


def matrix_vector(matrix: Shape, _vector: Shape, **_: Any) -> int:
    return 2 * prod(matrix)


def added_matrix_vector(_bias: Shape, matrix: Shape, _vector: Shape, **_: Any) -> int:
    return 2 * prod(matrix)


def added_matrices(_bias: Shape, one: Shape, other: Shape, **_: Any) -> int:
    """One matrix by another, or one batch of them by another: each entry of the first meets a row of the second."""
    return 2 * prod(one) * other[-1]


def trilinear(one: Shape, two: Shape, three: Shape, *where: Shape, **_: Any) -> int:
    """The sum over products of three, which a bilinear layer is; `where` each of the three is spread along new axes."""
    spread = [widened(shape, axes) for shape, axes in zip((one, two, three), where, strict=False)]
    return 2 * prod(torch.broadcast_shapes(*spread))  # type: ignore[no-untyped-call]  # torch leaves it unannotated


def widened(shape: Shape, axes: Shape) -> list[int]:
    wide = list(shape)
    for axis in axes:
        wide.insert(axis, 1)
    return wide


def attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Queries (..., n, d) meet keys (..., m, d), what comes of it values (..., m, e); for whoever asks for a kernel."""
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def multihead(
    query: Shape, key: Shape, value: Shape, _size: int, _heads: int, _into: Shape, _bias: Shape, out: Shape, *_: Any,
    **__: Any,
) -> int:  # fmt: skip
    """Projections in and out, and attention, of (batch, tokens, size): torch's fast path, which scripts still take."""
    projected = sum(2 * prod(shape) * query[-1] for shape in (query, key, value))
    return projected + attention(query, key, value) + 2 * prod(query[:-1]) * prod(out)


def encoder_layer(
    tokens: Shape, size: int, heads: int, into: Shape, bias: Shape, out: Shape, *rest: Any, **_: Any
) -> int:
    """Attention and the two matrices after it, of (batch, tokens, size): likewise."""
    matrices: tuple[Shape, Shape] = (rest[8], rest[10])
    fed = 2 * prod(tokens[:-1]) * sum(map(prod, matrices))
    return multihead(tokens, tokens, tokens, size, heads, into, bias, out) + fed


def recurrent(tokens: Shape, weights: Sequence[Shape]) -> int:
    """Each matrix of a recurrent layer multiplies each token once, `tokens` being (..., features)."""
    return 2 * prod(tokens[:-1]) * sum(prod(weight) for weight in weights if len(weight) == 2)


def recurrent_stack(tokens: Shape, weights: Sequence[Shape], *_: Any, **__: Any) -> int:
    return recurrent(tokens, weights)


def recurrent_layer(tokens: Shape, *weights: Any, **_: Any) -> int:
    return recurrent(tokens, weights[:4])  # oneDNN's has two matrices and two biases, then states


FORMULAS: Mapping[Any, Callable[..., int]] = {
    aten_ops.dot: dot_cost,
    aten_ops.vdot: dot_cost,
    aten_ops.mv: matrix_vector,
    aten_ops.addmv: added_matrix_vector,
    aten_ops.addbmm: added_matrices,
    aten_ops._addmm_activation: added_matrices,
    aten_ops._trilinear: trilinear,
    aten_ops._scaled_dot_product_flash_attention_for_cpu: attention,
    aten_ops._scaled_dot_product_fused_attention_overrideable: attention,
    aten_ops._native_multi_head_attention: multihead,
    aten_ops._transformer_encoder_layer_fwd: encoder_layer,
    aten_ops.mkldnn_rnn_layer: recurrent_layer,
    aten_ops._cudnn_rnn: recurrent_stack,
    aten_ops.miopen_rnn: recurrent_stack,
}
"""What torch's own table lacks."""

WHOLE: Mapping[Any, Callable[..., int]] = dict.fromkeys(
    (
        aten_ops.batch_norm.default,
        aten_ops._batch_norm_impl_index.default,
        aten_ops.native_batch_norm.default,
        aten_ops._native_batch_norm_legit_no_training.default,
    ),
    nothing,
)
"""Products of matrices are not in these. torch's counter would look for them by carrying out each in small steps, which
takes two thirds of a count (2.14)."""
