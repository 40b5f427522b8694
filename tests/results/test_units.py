"""Numbers as people read them."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from automl_kd.results import units
from automl_kd.results.sheet import Column, Sheet


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (7, "7"), (999, "999"), (999.7, "1.00 k"), (270_896, "271 k"), (999_600, "1.00 M")),
        *((1.73e6, "1.73 M"), (41e6, "41.0 M"), (3.1e12, "3.10 T")),
        *((None, "–"), (float("nan"), "–"), (pd.NA, "–")),
    ],
)
def test_count(value, text):
    assert units.format_count(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.84, "0.8 s"), (42.4, "42 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (None, "–")],
)
def test_duration(seconds, text):
    assert units.duration(seconds) == text


def test_shares_and_differences():
    assert units.percent(0.9123) == "91.23"
    assert units.percent_interval(0.9, float("nan")) == "90.00"
    assert units.percent_interval(0.9, 0.012) == "90.00 ± 1.20"
    assert [units.points(value) for value in (0.018, -0.018, 0.0, -1e-9)] == ["+1.80", "-1.80", "0.00", "0.00"]


def test_multiples_and_milliseconds():
    assert [units.times(value) for value in (0.5, 11.23, 250.4, float("nan"))] == ["0.50", "11.2", "250", "–"]
    assert [units.milliseconds(value) for value in (0.8249, 12.34, 250.4, None)] == ["0.825", "12.3", "250", "–"]


def test_options_and_plurals():
    assert units.options('{"temperature": 4.0, "head": "mlp", "deep": true}') == "temperature=4, head=mlp, deep=True"
    assert units.options("{}") == units.options(None) == ""
    assert [units.some(1, "seed"), units.some(3, "seed")] == ["1 seed", "3 seeds"]


def test_weights_in_a_sum_have_four_digits():
    assert units.options('{"losses": "at=100.0, kd=0.6587212130722795"}') == "losses=at=100.0, kd=0.6587"


def test_a_pinned_file_is_named_in_short():
    pin = f"/home/ada/my runs/process.json@sha256-{'0123456789abcdef' * 4}"
    assert units.options(json.dumps({"process": pin, "clip": 0.5})) == "process=process.json (01234567), clip=0.5"


def test_a_sheet_in_markdown():
    sheet = Sheet((Column("name"), Column("size", numeric=True)), (("a\nb", "1"),))
    assert sheet.to_markdown() == "| name | size |\n| --- | ---: |\n| a b | 1 |\n"


def test_a_schedule_in_words():
    text = (
        '[[0.0, {"recipe.lr": 0.1, "method.temperature": 4.0}], [0.5, {"recipe.lr": 0.2, "method.temperature": 2.0}]]'
    )
    assert units.schedule(text) == "recipe.lr and temperature on a schedule of 2 stages"
    assert units.schedule('[[0.0, {"recipe.lr": 0.1, "method.temperature": 2.0}]]') == "recipe.lr=0.1, temperature=2"
    assert units.schedule('[[0.5, {"recipe.lr": 0.1}]]') == "recipe.lr on a schedule of 1 stage"
    assert units.schedule("") == ""
