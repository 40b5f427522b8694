"""Whether the rows of a table are ones that we could have written: what damage and other hands leave.

Files declare their columns; these checks look at the values. Without them a row of 93 % written as 93.0 ranks first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from automl_kd.errors import ResultError
from automl_kd.registry import choices_of
from automl_kd.results.store.row import Point, Row, ScoreRow

RowMask = NDArray[np.bool_]
Fault = tuple[RowMask, str]
"""Which rows have it, and what it is, as what stands behind "has a row"."""

JSON = {"options_json": dict, "versions_json": dict, "values_json": dict, "schedule_json": list, "lineage_json": list}
"""Columns whose texts readers take apart, and what they hold."""

RECORD_KINDS: Mapping[str, type[Row | Point | ScoreRow]] = {"rows": Row, "curves": Point, "scores": ScoreRow}


def faults(table: pa.Table, kind: str) -> Iterator[Fault]:
    """All that is wrong with a table of rows, curves or scores, whatever columns of it were read.

    Which rows have a fault is only looked for where there is one: that imports pandas, which takes most of a second.
    """
    names = [*required(kind), *(("trial_kind", "key") if kind == "curves" else ())]
    for name in [one for one in names if one in table.column_names]:
        if table[name].null_count:
            yield from found(table[name].is_null(), f"without {name}")
    for name in [one for one in table.column_names if "accuracy" in one]:
        column, ends = table[name], pc.min_max(table[name]).as_py()
        if ends["min"] is not None and not 0 <= ends["min"] <= ends["max"] <= 1:
            outside = pc.or_(pc.and_(pc.less(column, 0.0), of_accuracy(table)), pc.greater(column, 1.0))
            yield from found(outside, f"whose {name} is no fraction in 0 to 1")
    for name, allowed in choices_of(RECORD_KINDS[kind]).items():  # type: ignore[arg-type]  # mypy doubts that classes are hashable
        if name in table.column_names and not {*allowed, None}.issuperset(pc.unique(table[name]).to_pylist()):
            known = pc.is_in(table[name], value_set=pa.array([*allowed, None], pa.string()))
            yield from found(pc.invert(known), f"whose {name} is none of {', '.join(allowed)}")
    for name in [one for one in JSON if one in table.column_names]:
        bad = [text for text in pc.unique(table[name]).to_pylist() if text is not None and not holds(text, JSON[name])]
        if bad:
            wrong = pc.is_in(table[name], value_set=pa.array(bad, pa.string()))
            yield from found(wrong, f"whose {name} cannot be read")


def of_accuracy(table: pa.Table) -> pa.ChunkedArray | pa.BooleanScalar:
    """Which rows hold accuracies, rather than another metric, which may lie below 0; where that is not said none."""
    if "metric" not in table.column_names:
        return pa.scalar(False)
    return pc.fill_null(pc.equal(table["metric"], "accuracy"), True)


def found(mask: pa.ChunkedArray, what: str) -> Iterator[Fault]:
    here: RowMask = np.asarray(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), dtype=bool)
    if here.any():
        yield here, what


@cache
def required(kind: str) -> list[str]:
    """The fields that are never None, and so were in the first version already."""
    hints = get_type_hints(RECORD_KINDS[kind])
    return [name for name, hint in hints.items() if type(None) not in get_args(hint)]


def holds(text: str, kind: type[Any]) -> bool:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, kind)


def require_sound(table: pa.Table, kind: str, path: Path) -> pa.Table:
    """`table`, read from `path`; `ResultError` with the first of its faults."""
    for mask, what in faults(table, kind):
        raise ResultError(
            f"{path} has {mask.sum()} of {len(table)} rows {what}; 'automl-kd doctor FOLDER --repair' moves them aside"
        )
    return table
