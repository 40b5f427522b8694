"""What a run prints while it goes on, and how it ends when it cannot go on; a cluster that is not there."""

from __future__ import annotations

import json
import re
import time
from types import SimpleNamespace

import pytest
import ray

import automl_kd.experiment
from automl_kd.errors import TrialError
from automl_kd.results import ResultTable
from tests.results.synthetic import row, write_experiment


@pytest.fixture
def stages(monkeypatch):
    """Puts a function in the place of the experiment's stages."""

    def replace(pretend) -> None:
        monkeypatch.setattr(automl_kd.experiment, "run_stages", pretend)

    return replace


def test_a_run_ends_with_its_report(run, stages, tmp_path):
    def pretend(experiment, roots, watcher, *, address, accept_teacher):
        assert (roots.results, roots.data, address) == (tmp_path / "results", tmp_path / "images", "there:6379")
        watcher.stage("teacher", 3)
        write_experiment(roots.results / experiment.name)
        return SimpleNamespace(folder=roots.results / experiment.name)

    stages(pretend)
    code, out, err = run("search", "--address", "there:6379", "--data-root", "images")
    assert (code, err) == (0, "teacher\n")
    assert out.splitlines()[-1] == f"written to {tmp_path}/results/quickstart/leaderboard.md"


def test_a_run_without_a_verdict_ends_with_1(run, stages):
    def pretend(experiment, roots, watcher, *, address, accept_teacher):
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
        (KeyboardInterrupt(), 130, "interrupted; finished trials are recorded, and the same command continues"),
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


def test_the_page_of_a_run_that_broke_off_says_so(run, stages, tmp_path):
    def pretend(experiment, roots, watcher, *, address, accept_teacher):
        write_experiment(roots.results / experiment.name)
        watcher.stage("finalists", 3)
        raise KeyboardInterrupt

    stages(pretend)
    assert run("search").code == 130
    page = (tmp_path / "results" / "quickstart" / "leaderboard.html").read_text()
    assert re.search(r"Interrupted at 2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d UTC, in this stage: finalists", page)
    assert "The same command continues it." in page
    assert "http-equiv" not in page


@pytest.mark.parametrize(("mode", "events"), [("jsonl", ["note", "end"]), ("none", [])])
def test_progress_for_programs_and_none_at_all(run, stages, mode, events):
    def pretend(experiment, roots, watcher, *, address, accept_teacher):
        watcher.note("so it goes")
        raise TrialError("no luck")

    stages(pretend)
    code, out, err = run("search", "--progress", mode)
    *said, reason = err.splitlines()
    assert (code, out, reason) == (2, "", "automl-kd: no luck")
    assert [json.loads(line)["event"] for line in said] == events


def test_other_progress_is_refused(run):
    code, out, err = run("search", "--progress", "loud")
    assert (code, out) == (2, "")
    sentence = " ".join(err.replace("│", " ").split())
    assert "'--progress': 'loud' is not one of 'auto', 'lines', 'jsonl', 'none'" in sentence


@pytest.mark.ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999", "nonsense"])
def test_a_cluster_that_is_not_there(refused, address):
    assert not ray.is_initialized()  # a run inside a Ray asks for no address
    started = time.monotonic()
    said = refused("search", "--address", address)
    assert said.startswith((f"no Ray cluster answers at '{address}'; start one", f"'{address}' cannot be joined ("))
    assert time.monotonic() - started < 60


@pytest.mark.ray
def test_a_trial_too_large_for_this_machine(refused):
    assert "a trial asks for 4096 CPUs" in refused("search", "--set", "trial.cpus=4096")
