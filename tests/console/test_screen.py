"""What is told of a run while it goes on: a live screen, plain lines, or objects for programs."""

from __future__ import annotations

import io
import json
import re
from contextlib import suppress
from types import SimpleNamespace

import pytest
from rich.console import Console

from automl_kd.console import lines
from automl_kd.console.lines import JsonLines, PlainLines
from automl_kd.console.screen import ProgressMode, Screen, watching
from automl_kd.experiment.progress.events import Silent, StagePlan, TrialStatus, Watcher

PLAN = StagePlan(trials=4, work=4.0, workers=2, ahead=2.0, reference="default-kd", baseline="plain KD")


def news(key: str, **changes) -> TrialStatus:
    return TrialStatus(key=key, number=int(key), label=f"basic 2-3-3 x 12-16-3{key}", epochs=4, **changes)


def search(watcher: Watcher) -> None:
    """A stage with a trial that is complete, one that failed and two that run."""
    watcher.stage("search, 4 trials by random", 4)
    watcher.plan(PLAN)
    for key in "0123":
        watcher.trial(news(key))
    watcher.trial(news("0", status="complete", epoch=4, val_accuracy=0.912, train_macs=2.5e9, seconds=3.0))
    watcher.trial(news("1", status="failed", epoch=1, val_accuracy=float("nan"), error="the loss became nan"))
    watcher.trial(news("2", epoch=3, val_accuracy=0.87))
    watcher.step(2, "best 91.2%")
    watcher.note("trial 1 failed: the loss became nan")


def window(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=30, color_system=None)


def last_frame(width: int, tell=search) -> list[str]:
    """The lines of a window of so many columns when everything was told and nothing has ended."""
    with suppress(KeyboardInterrupt), Screen(console := window(width)) as shown:
        tell(shown)
        raise KeyboardInterrupt
    text = console.file.getvalue()  # type: ignore[attr-defined]
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\r", text)
    return [line.split("\r")[-1].rstrip() for line in drawn.split("\n")]


def test_the_live_screen_shows_the_stage_and_its_trials():
    frame = last_frame(110)
    start = max(place for place, line in enumerate(frame) if line.startswith("search, 4 trials"))
    assert "2/4" in frame[start]
    assert "left" not in frame[start]
    assert frame[start + 1 : start + 4] == [
        "trials    2 running, 1 complete, 1 failed; 2 of 2 workers busy",
        "best      91.20 % on validation (basic 2-3-3 x 12-16-30)",
        "baseline  plain KD: not trained yet",
    ]
    assert re.match(r"time      0\.\d s so far", frame[start + 4])
    assert frame[start + 5].startswith("cost      2.50 G multiply-adds, 3.0 s of training")
    assert frame[start + 6].split() == ["trial", "student", "epoch", "val,", "%"]
    assert frame[start + 7].split() == ["2", "basic", "2-3-3", "x", "12-16-32", "3/4", "87.00"]
    assert frame[start + 8].split() == ["3", "basic", "2-3-3", "x", "12-16-33", "0/4", "–"]
    assert sum("trial 1 failed: the loss became nan" in line for line in frame) == 1


def test_a_narrow_window_is_kept_to_and_numbers_survive():
    frame = last_frame(38)
    assert max(map(len, frame)) <= 38
    text = " ".join(" ".join(frame).split())
    assert "2 of 2 workers busy" in text
    assert "91.20 % on validation" in text
    assert re.search(r"2 basic [^ ]*.*…? +3/4 +87\.00", text)


def test_more_trials_than_lines_are_counted():
    def crowd(watcher: Watcher) -> None:
        watcher.stage("search, 100 trials", 100)
        watcher.plan(StagePlan(trials=100, work=100.0, workers=50))
        for number in range(50):
            watcher.trial(TrialStatus(key=str(number), number=number, label="one of many", epochs=4))

    frame = last_frame(80, crowd)
    assert sum("one of many" in line for line in frame[-30:]) == 15
    assert any("and 35 more" in line for line in frame)


def test_a_stage_that_ended_keeps_its_bar_alone():
    with Screen(console := window(100)) as shown:
        search(shown)
        shown.stage("finalists", 2)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    last = text[text.rindex("search, 4 trials") :]
    assert "4/4" in last
    assert "2/2" in last
    assert "workers busy" not in last


def test_a_long_note_gives_way_to_the_numbers():
    with Screen(console := window(100)) as shown:
        shown.stage("finalists and baselines", 180)
        shown.step(11, "validation 87.2%" + " and so on" * 20)
        shown.live.refresh()
        text = console.file.getvalue()  # type: ignore[attr-defined]
    last = next(line for line in reversed(text.splitlines()) if "11/180" in line)
    assert "left" in last
    assert last.rstrip().endswith("…")
    assert len(last[last.rindex("finalists") :]) <= 100


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass as the test says."""
    here = SimpleNamespace(now=0.0)
    monkeypatch.setattr(lines, "time", SimpleNamespace(monotonic=lambda: here.now))
    return here


def test_plain_lines_now_and_then(clock, capsys):
    with PlainLines() as shown:
        shown.stage("search, 4 trials", 4, "trials")
        clock.now = 1.0
        shown.step(1, "early")
        clock.now = 16.0
        shown.step(2, "best 90.0%")
        search(shown)
        shown.stage("finalists", 180, "epochs")
        clock.now = 40.0
        shown.step(11)
    assert capsys.readouterr().err.splitlines() == [
        "search, 4 trials",
        "search, 4 trials: 2 of 4 trials, best 90.0%",
        "search, 4 trials by random",
        "trial 1 failed: the loss became nan",
        "finalists",
        "finalists: 11 of 180 epochs",
    ]


def test_objects_for_programs(clock, capsys):
    with suppress(KeyboardInterrupt), JsonLines() as shown:
        shown.stage("scoring", 9)
        clock.now = 2.0
        shown.step(3)
        shown.step(4)  # too soon
        search(shown)
        raise KeyboardInterrupt
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    events = ["stage", "step", "stage", "plan", *["trial"] * 7, "note", "progress", "end"]
    assert [one["event"] for one in said] == events
    assert all(one["time"].endswith("+00:00") for one in said)
    assert said[1]["done"] == 3
    assert (said[3]["trials"], said[3]["workers"]) == (4, 2)
    assert {name: said[8][name] for name in ("key", "status", "epoch", "epochs", "val_accuracy")} == {
        "key": "0",
        "status": "complete",
        "epoch": 4,
        "epochs": 4,
        "val_accuracy": 0.912,
    }
    assert said[9]["val_accuracy"] is None  # not a number is no JSON
    progress = said[-2]
    assert [progress[name] for name in ("running", "complete", "stopped", "failed", "busy", "workers")] == [
        *(2, 1, 0, 1),
        *(2, 2),
    ]
    assert progress["best"] == {"key": "0", "label": "basic 2-3-3 x 12-16-30", "val_accuracy": 0.912}
    assert (progress["baseline"], progress["train_macs"], progress["train_seconds"]) == (None, 2.5e9, 3.0)
    assert said[-1]["outcome"] == "interrupted"


def test_without_a_terminal_there_are_lines(capsys):
    assert isinstance(watching(), PlainLines)
    assert isinstance(watching(ProgressMode.LINES), PlainLines)
    assert isinstance(watching(ProgressMode.JSONL), JsonLines)
    with watching(ProgressMode.NONE) as shown:
        assert isinstance(shown, Silent)
        search(shown)
    assert capsys.readouterr().err == ""
