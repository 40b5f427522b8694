"""A search on texts, killed once in each of its stages: whatever it learnt by then, it ends like an unbroken one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.faults.checks import outcome
from tests.faults.session import SearchSession, until
from tests.faults.texts import write_experiment
from tests.faults.torture import LONGEST_SECONDS, NAME, Report, Search, compared, kill

pytestmark = [pytest.mark.ray, pytest.mark.long]

MOMENTS = {
    "the teacher is fine-tuned": ("../teachers/*/checkpoint.pt", 1, "driver"),
    "students are ranked and chosen": ("proposals.jsonl", 1, "all"),
    "a student learns": ("trials/*/checkpoint.pt", 1, "worker"),
    "others follow": ("rows/trial_kind=search/[!_]*.parquet", 2, "raylet"),
    "finals": ("rows/trial_kind=final/[!_]*.parquet", 1, "driver"),
}
"""What must be there, how often, and who is killed then."""


def has_come(search: Search, session: SearchSession, pattern: str, count: int) -> bool:
    """Whether so many files are there, or the session has ended."""
    return len(list(search.folder.glob(pattern))) >= count or session.code is not None


def test_killed_in_every_stage_a_search_on_texts_ends_like_an_unbroken_one(tmp_path: Path, capsys) -> None:
    report, experiment = Report(), write_experiment(tmp_path, NAME)
    unbroken = Search(tmp_path / "unbroken", report, experiment)
    unbroken.undisturbed()
    search = Search(tmp_path / "killed", report, experiment)
    session = search.start()
    for moment, (pattern, count, target) in MOMENTS.items():
        until(partial(has_come, search, session, pattern, count), LONGEST_SECONDS)
        assert session.code is None, (moment, session.stderr())
        if kill(search, session, target):
            session = search.start()
    assert session.wait(LONGEST_SECONDS)
    search.close(session, "the end")
    assert report.total == len(MOMENTS)
    assert report.wrong + compared(search.folder, outcome(unbroken.folder)) == [], capsys.readouterr().out
