"""Arrow columns as NumPy, with nulls, slices and chunks, as pyarrow converts them itself."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.results.store.columns import encode_column, number_groups, to_mask, to_reals

chunks = st.lists(st.lists(st.none() | st.integers(-5, 5), max_size=12), max_size=3)


def column_of(parts, kind, cut):
    return pa.chunked_array([pa.array(part, kind) for part in parts], kind).slice(cut)


@given(chunks, st.integers(0, 9))
def test_reals(parts, cut):
    column = column_of(parts, pa.int64(), cut)
    expected = [np.nan if value is None else float(value) for value in column.to_pylist()]
    np.testing.assert_array_equal(to_reals(column), np.array(expected, dtype=float))


@given(chunks, st.integers(0, 9))
def test_codes_stand_for_their_values(parts, cut):
    texts = [[None if value is None else f"v{value}" for value in part] for part in parts]
    column = column_of(texts, pa.string(), cut)
    codes, values = encode_column(column)
    assert [values[code] for code in codes] == column.to_pylist()
    assert len(set(values)) == len(values)


@given(st.lists(st.tuples(st.none() | st.sampled_from("ab"), st.integers(0, 2)), max_size=30))
def test_groups_are_those_of_equal_rows(rows):
    table = pa.table(
        {"x": pa.array([x for x, _ in rows], pa.string()), "y": pa.array([y for _, y in rows], pa.int64())}
    )
    groups = number_groups(table, ["x", "y"])
    assert len({(group, row) for group, row in zip(groups.tolist(), rows, strict=True)}) == len(set(rows))
    assert sorted(set(groups.tolist())) == list(range(len(set(rows))))


@given(st.lists(st.booleans(), max_size=30))
def test_masks_keep_what_they_say(kept):
    table = pa.table({"row": pa.array(range(len(kept)), pa.int64())})
    found = table.filter(to_mask(np.array(kept, dtype=bool)))["row"].to_pylist()
    assert found == [place for place, one in enumerate(kept) if one]
