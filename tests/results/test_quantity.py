"""Quantities are read as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.errors import ConfigError
from automl_kd.results.quantity import parse_quantity, read_quantity
from automl_kd.results.units import format_count


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("2M", "params", 2e6),
        ("2 m", "params", 2e6),
        ("2M params", "params", 2e6),
        ("300k", "params", 3e5),
        ("270,896", "params", 270_896),
        ("2e6", "params", 2e6),
        (".5M", "params", 5e5),
        ("1.5B", "params", 1.5e9),
        ("20M", "macs", 2e7),
        ("1.5 GMACs", "macs", 1.5e9),
        ("5ms", "ms", 5),
        ("5", "ms", 5),
        ("0.2 s", "ms", 200),
        ("900us", "ms", 0.9),
        ("0.5MB", "MB", 0.5),
        ("800 kB", "MB", 0.8),
        ("1MiB", "MB", 1.048576),
    ],
)
def test_what_people_write(text, unit, value):
    assert parse_quantity(text, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("", "params"),
        ("M", "params"),
        ("-2M", "params"),
        ("0", "macs"),
        ("nan", "ms"),
        ("1e999", "params"),
        ("2ms", "params"),
        ("2M", "ms"),
        ("5 ms ms", "ms"),
        ("2MM", "params"),
        ("5 MB", "macs"),
        ("one", "MB"),
        ("1,5M", "params"),
    ],
)
def test_what_is_no_such_quantity_is_refused(text, unit):
    with pytest.raises(ConfigError, match=f"number of {unit} above zero; write it as"):
        parse_quantity(text, unit)


def test_numbers_are_taken_as_they_are():
    assert read_quantity(2_000_000, "params") == 2e6
    assert read_quantity(0.25, "ms") == 0.25
    with pytest.raises(ConfigError):
        read_quantity(math.inf, "ms")
    with pytest.raises(ConfigError):
        read_quantity(-1.0, "ms")


@given(st.integers(1, 9 * 10**14))
def test_what_is_printed_is_read_back_to_three_digits(count):
    assert parse_quantity(format_count(count), "params") == pytest.approx(count, rel=0.006)
