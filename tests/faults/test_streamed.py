"""Three kills of a streamed trial and its decoder, as `python -m tests.faults.streamed` makes them by the dozen."""

from __future__ import annotations

import pytest

from tests.faults.streamed import torture_streamed

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("decoding helper")]


def test_killed_three_times_a_streamed_trial_ends_like_an_unbroken_one(tmp_path, tmp_path_factory, monkeypatch, capsys):
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("kd")))  # a helper of its own, which no other test reads
    report = torture_streamed(3, 1, tmp_path, epochs=10)
    assert report.wrong == [], capsys.readouterr().out
    assert report.kills.total() == 3
    assert len(report.repeated) == report.kills["trial"] > 0
