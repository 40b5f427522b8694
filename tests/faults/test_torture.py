"""Five kills of a real search, as `python -m tests.faults.torture` makes them by the hundred."""

from __future__ import annotations

import pytest

from tests.faults.torture import TARGETS, torture

pytestmark = [pytest.mark.ray, pytest.mark.long]


def test_killed_five_times_a_search_ends_like_an_unbroken_one(tmp_path, capsys):
    report = torture(5, 3, list(TARGETS), tmp_path / "torture")
    assert report.wrong == [], capsys.readouterr().out
    assert report.total == 5
    assert report.sessions > 2
