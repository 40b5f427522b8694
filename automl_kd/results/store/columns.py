"""Arrow columns as NumPy arrays, without pandas, which pyarrow's own conversions import: most of a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

GroupCodes = NDArray[np.int64]
RealColumn = NDArray[np.float64]


def to_reals(column: pa.ChunkedArray) -> RealColumn:
    """A column of numbers, nan for what is null."""
    array = joined(column.cast(pa.float64()))
    values = values_in(array, np.dtype(np.float64))
    return np.where(valid_in(array), values, np.nan) if array.null_count else values


def encode_column(column: pa.ChunkedArray) -> tuple[GroupCodes, list[Any]]:
    """For each row the place of its value in a list of the different ones, which may hold None."""
    array = joined(column).dictionary_encode()
    codes = values_in(array.indices, np.dtype(np.int32)).astype(np.int64)
    values = array.dictionary.to_pylist()
    if not array.indices.null_count:
        return codes, values
    return np.where(valid_in(array.indices), codes, len(values)), [*values, None]


def number_groups(table: pa.Table, names: Sequence[str]) -> GroupCodes:
    """For each row the number of its group, whose rows have equal values in the columns `names`: 0, 1, ..."""
    group = np.zeros(len(table), dtype=np.int64)
    for name in names:
        codes, values = encode_column(table[name])
        group = np.unique(group * (len(values) + 1) + codes, return_inverse=True)[1]
    return group


def to_mask(kept: NDArray[np.bool_]) -> pa.BooleanArray:
    """A mask to filter a table by."""
    bits = pa.py_buffer(np.packbits(kept, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.bool_(), len(kept), [None, bits])


def joined(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole if isinstance(whole, pa.Array) else pa.concat_arrays(whole.chunks)


def values_in(array: pa.Array, kind: np.dtype[Any]) -> NDArray[Any]:
    """What lies in the array's memory, whatever for nulls."""
    if not len(array):
        return np.empty(0, kind)
    return np.frombuffer(array.buffers()[1], kind)[array.offset : array.offset + len(array)]


def valid_in(array: pa.Array) -> NDArray[np.bool_]:
    """Which entries are not null, of an array that has some."""
    bits = np.unpackbits(np.frombuffer(array.buffers()[0], np.uint8), bitorder="little")
    return bits[array.offset : array.offset + len(array)].astype(bool)
