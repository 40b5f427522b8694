"""Means and intervals of very many small groups at once, bit for bit those of each group by itself.

Groups of one size are the rows of a matrix, which numpy sums row by row in the order in which it sums each alone.
`owner` says for each value which group it belongs to, 0 to `count` - 1, and rises.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.special import stdtrit

Numbers = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Places = np.ndarray[tuple[int, ...], np.dtype[np.intp]]


def blocks_by_size(owner: Places, count: int) -> Iterator[tuple[Places, Places]]:
    """For each size that occurs: the groups of that size, and in a row for each the places of its values."""
    sizes = np.bincount(owner, minlength=count)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes[sizes > 0]):
        groups = np.flatnonzero(sizes == size)
        yield groups, starts[groups][:, None] + np.arange(size)


def means(values: Numbers, owner: Places, count: int) -> Numbers:
    """As pandas takes them: what is NaN is left out; NaN where nothing is left."""
    found = np.full(count, math.nan)
    for groups, places in blocks_by_size(owner, count):
        block = values[places]
        known = ~np.isnan(block)
        with np.errstate(invalid="ignore"):
            found[groups] = np.where(known, block, 0.0).sum(axis=1) / known.sum(axis=1)
    return found


def estimates(values: Numbers, owner: Places, count: int) -> dict[str, Numbers]:
    """`mean`, `std` and `half_width` as `interval.estimate_mean` gives them."""
    known = ~np.isnan(values)
    values, owner = values[known], owner[known]
    mean, std, half_width = (np.full(count, math.nan) for _ in range(3))
    for groups, places in blocks_by_size(owner, count):
        block, n = values[places], places.shape[1]
        mean[groups] = block.mean(axis=1)
        if n > 1:
            std[groups] = block.std(axis=1, ddof=1)
            half_width[groups] = float(stdtrit(n - 1, 0.975)) * std[groups] / math.sqrt(n)
    return {"mean": mean, "std": std, "half_width": half_width}


def join_words(words: pd.Series, owner: Places) -> list[str]:
    """For each group its distinct words in alphabetical order, with commas; each has some. `owner` in any order."""
    distinct = pd.Categorical(words.astype(str) if words.dtype == object else words)
    names = sorted(map(str, distinct.categories))
    codes = distinct.rename_categories(str).set_categories(names).codes.astype(np.int64)
    pairs = np.unique(owner * len(names) + codes)
    found: dict[int, str] = {}
    for group, code in zip((pairs // len(names)).tolist(), (pairs % len(names)).tolist(), strict=True):
        found[group] = f"{found[group]}, {names[code]}" if group in found else names[code]
    return list(found.values())
