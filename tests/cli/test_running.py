"""What a run prints while it goes on, and how it ends when it cannot go on; a cluster that is not there."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

import automl_kd.experiment
from automl_kd.cli import screen
from automl_kd.cli.screen import Screen
from automl_kd.errors import TrialError
from automl_kd.results import ResultTable
from tests.results.synthetic import row, write_experiment


@pytest.fixture
def stages(monkeypatch):
    """Puts a function in the place of the experiment's stages."""

    def replace(pretend) -> None:
        monkeypatch.setattr(automl_kd.experiment, "run", pretend)

    return replace


def test_a_run_ends_with_its_report(run, stages, tmp_path):
    def pretend(experiment, roots, watcher, *, address):
        assert (roots.results, roots.data, address) == (tmp_path / "results", tmp_path / "images", "there:6379")
        watcher.stage("teacher", 3)
        write_experiment(roots.results / experiment.name)
        return SimpleNamespace(folder=roots.results / experiment.name)

    stages(pretend)
    code, out, err = run("search", "--address", "there:6379", "--data-root", "images")
    assert (code, err) == (0, "teacher\n")
    assert out.splitlines()[-1] == f"written to {tmp_path}/results/quickstart/leaderboard.md"


def test_a_run_without_a_verdict_ends_with_1(run, stages):
    def pretend(experiment, roots, watcher, *, address):
        folder = roots.results / experiment.name
        ResultTable(folder).append(row(experiment="quickstart"))
        return SimpleNamespace(folder=folder)

    stages(pretend)
    code, out, _ = run("search")
    assert code == 1
    assert "No verdict yet" in out


@pytest.mark.parametrize(
    ("fault", "code", "sentence"),
    [
        (KeyboardInterrupt(), 130, "interrupted; what has ended is on record, and the same command continues"),
        (TrialError("the teacher could not be trained:\nnan"), 2, "the teacher could not be trained: nan"),
        (OSError(28, "", "/r/a"), 2, "/r/a: No space left on device; make room or choose another --out, then run it"),
        (OSError(30, "", "/r"), 2, "/r: Read-only file system; choose another folder, then run it again"),
    ],
)
def test_how_a_run_ends_that_cannot_go_on(run, stages, fault, code, sentence):
    def pretend(*_arguments, **_options):
        raise fault

    stages(pretend)
    ended = run("search")
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith(f"automl-kd: {sentence}")
    assert len(ended.err.splitlines()) == 1


def test_a_fault_of_ours_is_not_dressed_up(run, stages):
    def pretend(*_arguments, **_options):
        raise ZeroDivisionError("ours")

    stages(pretend)
    with pytest.raises(ZeroDivisionError, match="ours"):
        run("search")


def watched(monkeypatch, *, terminal: bool) -> str:
    """What is printed of two stages and a note, one step of which comes late."""
    seconds = iter([0.0, 1.0, 16.0, 17.0, 20.0, 20.0, 20.0])
    monkeypatch.setattr(screen, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    text = io.StringIO()
    with Screen(Console(file=text, force_terminal=terminal, width=100, color_system=None)) as shown:
        shown.stage("search, 4 trials", 4)  # at second 0
        shown.step(1, "early")  # at 1: too soon for a line
        shown.step(2, "best validation 90.0%")  # at 16
        shown.note("trial 3 failed: the loss became nan")
        shown.stage("finalists", 2)
    return text.getvalue()


def test_plain_lines_where_nobody_watches(monkeypatch):
    assert watched(monkeypatch, terminal=False).splitlines() == [
        "search, 4 trials",
        "search, 4 trials: 2 of 4, best validation 90.0%",
        "trial 3 failed: the loss became nan",
        "finalists",
    ]


def test_a_bar_where_someone_does(monkeypatch):
    drawn = watched(monkeypatch, terminal=True)
    last = next(line for line in reversed(drawn.splitlines()) if "finalists" in line)
    assert "2/2" in last
    assert "left" in last
    assert drawn.count("trial 3 failed: the loss became nan") == 1


def test_a_long_note_gives_way_to_the_numbers():
    text = io.StringIO()
    with Screen(Console(file=text, force_terminal=True, width=100, color_system=None)) as shown:
        shown.stage("finalists and baselines at equal compute", 180)
        shown.step(11, "validation 87.2%" + " and so on" * 20)
    last = next(line for line in reversed(text.getvalue().splitlines()) if "finalists" in line)
    assert "180/180 0:00:00 left 0:00:00 validation" in last
    assert last.rstrip().endswith("…")
    assert len(last.rpartition("finalists")[1] + last.rpartition("finalists")[2]) <= 100


@pytest.mark.ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999", "nonsense"])
def test_a_cluster_that_is_not_there(refused, address):
    started = time.monotonic()
    said = refused("search", "--address", address)
    assert said.startswith((f"no Ray cluster answers at '{address}'; start one", f"'{address}' cannot be joined ("))
    assert time.monotonic() - started < 60


@pytest.mark.ray
def test_a_trial_too_large_for_this_machine(refused):
    assert "a trial asks for 4096 CPUs" in refused("search", "--set", "trial.cpus=4096")
