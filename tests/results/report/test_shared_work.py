"""What the report says of the teacher cache and of streamed images."""

from __future__ import annotations

import dataclasses

import pandas as pd

from automl_kd.results.report.page import write_page
from automl_kd.results.report.shared_work import shared_work
from automl_kd.results.store.row import Row
from automl_kd.results.store.table import ResultTable
from tests.results.synthetic import row, write_experiment

STREAMED = {"images_delivered": 1000, "images_decoded": 700, "loader_seconds": 2.0}


def frame(*rows: Row) -> pd.DataFrame:
    """As the table gives them: None becomes nan where another row has a number."""
    return pd.DataFrame([dataclasses.asdict(one) for one in rows])


def test_images_decoded_for_each_delivered_and_the_wait():
    first = row(key="a" * 16, seconds=5.0, **STREAMED)
    second = row(key="b" * 16, seconds=15.0, images_delivered=1000, images_decoded=300, loader_seconds=1.0)
    # the same training counts once
    again = row(key="b" * 16, trial_kind="final", role="found-method", seconds=15.0, **STREAMED)
    resident = row(key="c" * 16, seconds=500.0)
    # 2,000 delivered, 1,000 decoded: 0.5 for each; 3 of 20 seconds
    assert shared_work(frame(first, second, again, resident)) == [
        "Images streamed to trials: 2,000 delivered, 1,000 decoded for them (0.50 for each); the trials waited 3.0 s "
        "for them, 15 % of their training."
    ]


def test_nothing_is_said_of_images_in_memory():
    assert shared_work(frame(row(), row(key="b" * 16))) == []


def test_the_page_says_both(tmp_path):
    write_experiment(tmp_path, trials=2)
    cached = {"teacher_passes": 10, "teacher_passes_saved": 30, "teacher_seconds_saved": 4.0}
    ResultTable(tmp_path).append(row(key="f" * 16, **STREAMED, **cached))
    text = write_page(tmp_path, tmp_path / "page.html").read_text()
    assert "1,000 delivered, 700 decoded for them (0.70 for each)" in text
    assert "10 computed, 30 served from the cache" in text
