"""What a row may hold, and what its schema makes of it."""

from __future__ import annotations

import dataclasses
from datetime import datetime

import pyarrow as pa
import pytest

from automl_kd.errors import ResultError
from automl_kd.results.store.row import CURVE_SCHEMA, ROW_SCHEMA, SCORE_SCHEMA, Point, Row, ScoreRow, check_columns
from automl_kd.results.store.soundness import faults
from tests.results.synthetic import row, score


def test_schemas_have_the_columns_of_their_records():
    assert ROW_SCHEMA.names == [item.name for item in dataclasses.fields(Row)]
    assert SCORE_SCHEMA.names == [item.name for item in dataclasses.fields(ScoreRow)]
    assert CURVE_SCHEMA.names == ["experiment", "trial_kind", "key", *(item.name for item in dataclasses.fields(Point))]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("role", pa.string()),
        ("proposal", pa.int64()),
        ("val_accuracy", pa.float64()),
        ("started", pa.timestamp("us", tz="UTC")),
    ],
)
def test_types_follow_from_annotations(name, kind):
    assert ROW_SCHEMA.field(name).type == kind
    assert ROW_SCHEMA.field(name).nullable


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trial_kind": "finals"}, "trial_kind is 'finals'"),
        ({"precision": "half"}, "precision is 'half' here; it must be one of float32"),
        ({"role": "found-method"}, "must be one of search"),
        ({"trial_kind": "final", "role": "search"}, "default-scratch"),
        ({"status": "done"}, "complete, stopped, failed"),
        ({"key": "../a"}, "letters and digits"),
        ({"val_accuracy": 91.2}, "divide percentages by 100"),
        ({"test_accuracy_best": -0.1}, "fraction"),
        ({"started": datetime(2026, 1, 1)}, "time zone"),
    ],
)
def test_a_row_that_cannot_be_is_refused(changes, words):
    with pytest.raises(ResultError, match=words):
        row(**changes)


def test_not_a_number_is_a_missing_accuracy_and_bounds_are_allowed():
    row(val_accuracy=float("nan"), test_accuracy=1.0)
    Point(epoch=1, val_accuracy=0.0)


def test_points_are_checked_too():
    with pytest.raises(ResultError, match="val_accuracy"):
        Point(epoch=1, val_accuracy=50.0)


def test_check_compares_keys():
    record = dataclasses.asdict(score("synflow", 1, 2.0))
    check_columns(record, SCORE_SCHEMA)
    with pytest.raises(ResultError, match="no column 'accuracy_top5'"):
        check_columns({**record, "accuracy_top5": 0.9}, SCORE_SCHEMA)
    del record["params"]
    with pytest.raises(ResultError, match="lacks 'params'"):
        check_columns(record, SCORE_SCHEMA)


def test_another_metric_than_accuracy_may_lie_below_zero():
    assert row(metric="negative_mse", val_accuracy=-3.0, test_accuracy=-2.5).val_accuracy == -3.0
    assert Point(epoch=1, val_accuracy=-3.0).val_accuracy == -3.0
    for metric in (None, "accuracy"):
        with pytest.raises(ResultError, match="must be a fraction"):
            row(metric=metric, val_accuracy=-3.0)
    with pytest.raises(ResultError, match="divide percentages by 100"):
        row(metric="r2", val_accuracy=3.0)
    columns = {"val_accuracy": [-3.0, -3.0, 0.5], "metric": ["negative_mse", "accuracy", None]}
    (found,) = [rows for rows, what in faults(pa.table(columns), "rows") if "no fraction" in what]
    assert list(found) == [False, True, False]
