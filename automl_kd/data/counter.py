"""Random words by counting: word `i` of a stream depends on the stream's key and on `i`, on nothing drawn before.

Word `i` under key `k` is the output number `i + 1` of splitmix64 started at state `k`:
Steele, Lea, Flood. Fast Splittable Pseudorandom Number Generators. OOPSLA 2014, section 4; with the multipliers of
Stafford's mixer number 13, as in Vigna's splitmix64.c. Since the state after `n` steps is `k + n * GOLDEN`, any word
can be computed alone, so a batch may be of any size, in any order and on any device.
Everything is 64-bit integer arithmetic that wraps around, which is the same on a CPU and on a GPU.
"""

from __future__ import annotations

from torch import Tensor

GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
MASK = 2**64 - 1
FIELD_BITS = 20


def key(*parts: int) -> int:
    """One key in [0, 2**64) for several integers: equal parts give equal keys, others practically never do."""
    state = 0
    for part in parts:
        state = mix_one((state + GOLDEN + part) & MASK)
    return state


def mix_one(z: int) -> int:
    z = ((z ^ (z >> 30)) * FIRST) & MASK
    z = ((z ^ (z >> 27)) * SECOND) & MASK
    return z ^ (z >> 31)


def draw_words(stream: int, counters: Tensor) -> Tensor:
    """One 64-bit word, as int64, for each of the int64 `counters` (0 or more), on their device."""
    z = counters * to_int64(GOLDEN) + to_int64(stream + GOLDEN)
    z = (z ^ shifted(z, 30)) * to_int64(FIRST)
    z = (z ^ shifted(z, 27)) * to_int64(SECOND)
    return z ^ shifted(z, 31)


def draw_below(drawn: Tensor, field: int, count: int | Tensor) -> Tensor:
    """An integer in [0, count) from the field of twenty bits number `field` (0, 1 or 2) of each word.

    `count`: one, or one for each word. Its probabilities differ from 1 / count by less than 2**-20.
    """
    bits = (drawn >> (field * FIELD_BITS)) & ((1 << FIELD_BITS) - 1)
    return (bits * count) >> FIELD_BITS


def shifted(z: Tensor, places: int) -> Tensor:
    # int64 shifts bring copies of the sign bit in from the left; the algorithm wants zeros.
    return (z >> places) & ((1 << (64 - places)) - 1)


def to_int64(word: int) -> int:
    """The int64 that has the 64 lowest bits of `word`."""
    word &= MASK
    return word - 2**64 if word >= 2**63 else word
