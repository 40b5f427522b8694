"""Without Ray: a search that is broken off at every instant proposes and records what an unbroken one does."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from automl_kd.cluster.tune_searcher import Curve, Failure
from automl_kd.config import SearchSection, to_record
from automl_kd.errors import ResultError
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.stages.search import Searching
from automl_kd.results.store.folder import open_folder
from automl_kd.spec import Outcome, TrialSpec
from tests import tiny

TRIALS = 8

SEARCHES: dict[str, dict[str, Any]] = {
    "random": {},
    "local": {},
    "evolution": {"options": {"population": 3, "tournament": 2}},
    "tpe": {"options": {"startup": 3}},
    "nsga2": {"options": {"population": 3}, "objectives": ("val_accuracy", "-params")},
    "screened evolution": {"options": {"population": 3}, "proxy_filter": ("naswot",), "pool": 2, "probe_images": 4},
}


class Killed(BaseException):
    """The process ends here."""


def opened(root: Path, name: str, **trial: Any) -> ExperimentContext:
    search = SearchSection(sampler=name.split()[-1], trials=TRIALS, scheduler="none", **SEARCHES[name])
    experiment = tiny.experiment(search=search)
    experiment = dataclasses.replace(experiment, trial=dataclasses.replace(experiment.trial, **trial))
    context = prepare_experiment(experiment, Roots(results=root / "results", data=root), Silent())
    open_folder(context.folder, to_record(context.experiment))
    return context


def trained(spec: TrialSpec) -> tuple[Outcome, Curve]:
    """What a trial comes to: width 7 diverges, width 9 dies, those above 12 are stopped, the others are complete."""
    width = int(spec.architecture.as_dict()["width"])
    epochs = {7: 1, 9: 0}.get(width, 2 if width > 12 else 3)
    curve: Curve = {epoch: tiny.pretended(width, epoch, 3) for epoch in range(1, epochs + 1)}
    last = curve.get(epochs, {})
    if width in {7, 9}:
        failure = Failure("the loss became nan", "diverged") if width == 7 else Failure("it died", "died")
        return Outcome(status="failed", metrics=last, epoch=epochs, **failure._asdict()), curve
    return Outcome(status="complete" if epochs == 3 else "stopped", metrics=last, epoch=epochs), curve


def sit(context: ExperimentContext, until: int) -> list[int]:
    """One sitting, killed at instant `until`, four of them in each trial; the trials that were really trained."""
    searching = Searching(context)
    really, instant = [], 0

    def pass_instant() -> None:
        nonlocal instant
        if instant == until:
            raise Killed
        instant += 1

    for index in range(TRIALS + 1):
        pass_instant()  # before anything is proposed
        given = searching.ask(index)
        if given is None:
            break
        pass_instant()  # proposed, not trained
        outcome, curve = trained(given.spec)
        if given.failure is not None:
            assert given.failure == Failure(outcome.error, "diverged")
            assert given.replay is not None
            curve = dict(enumerate(given.replay, start=1))
        elif given.replay is not None:
            curve = dict(enumerate(given.replay, start=1))
        else:
            really.append(index)
        pass_instant()  # trained, not recorded
        searching.on_outcome(given.spec, outcome, curve)
        pass_instant()  # recorded
    return really


def recorded(context: ExperimentContext) -> tuple[list[str], list[tuple[Any, ...]], str]:
    rows = context.table.read().sort_values("proposal")
    names = [
        "proposal",
        "key",
        "student",
        "status",
        "error",
        "failure_kind",
        "epochs_done",
        "val_accuracy",
        "test_accuracy",
    ]
    lines = (context.folder / "proposals.jsonl").read_text(encoding="utf-8").splitlines()
    return lines, [tuple(map(str, one)) for one in rows[names].itertuples(index=False)], context.table.curves().to_csv()


def test_of_a_stopped_trial_no_checkpoint_is_left_once_it_is_recorded(tmp_path):
    context = opened(tmp_path, "random")
    for _ in ("trained", "replayed, as one may have been written or left since"):
        searching = Searching(context)
        left: dict[str, set[tuple[str, ...]]] = {}
        for index in range(TRIALS):
            given = searching.ask(index)
            assert given is not None
            for name in ("checkpoint.pt", "search/checkpoint.pt", "search.pt", "learned_loss.pt"):
                path = given.paths.trial / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"w")
            outcome, curve = trained(given.spec)
            searching.on_outcome(given.spec, outcome, curve)
            files = tuple(sorted(path.name for path in given.paths.trial.rglob("*.pt")))
            left.setdefault(outcome.status, set()).add(files)
        every = ("checkpoint.pt", "checkpoint.pt", "learned_loss.pt", "search.pt")
        assert left == {"complete": {every}, "stopped": {("learned_loss.pt",)}, "failed": {every}}


@pytest.mark.parametrize("name", SEARCHES)
def test_wherever_it_is_broken_off_it_ends_as_if_it_had_not_been(tmp_path, name):
    unbroken = opened(tmp_path / "unbroken", name)
    assert sit(unbroken, -1) == list(range(TRIALS))
    wanted = recorded(unbroken)
    assert len(set(wanted[0])) == len(wanted[1]) == TRIALS
    context = opened(tmp_path / "broken", name)
    for until in range(1, 4 * TRIALS, 5):  # each sitting comes a little further than the one before, and is killed
        with pytest.raises(Killed):
            sit(context, until)
    again = sit(context, -1)
    assert recorded(context) == wanted
    # what was left to do, and the trial that died, if there was one: it is always tried again
    died = [int(row[0]) for row in wanted[1] if row[5] == "died"]
    assert set(again) - set(died) <= {TRIALS - 1}


def test_a_failure_that_is_known_to_come_again_is_repeated_only_if_asked_for(tmp_path):
    context = opened(tmp_path, "random")
    sit(context, -1)
    rows = context.table.read()
    assert {"diverged", "died"} <= set(rows["failure_kind"].dropna())
    assert sit(context, -1) == [int(one) for one in rows[rows["failure_kind"] == "died"]["proposal"]]
    willing = opened(tmp_path, "random", retry_failed=True)
    assert sit(willing, -1) == [
        int(one) for one in rows[rows["status"] == "failed"].sort_values("proposal")["proposal"]
    ]


@pytest.mark.parametrize("stage", ["gone", "full"])
def test_storage_that_failed_under_a_trial_ends_the_sitting_and_the_next_one_goes_on(tmp_path, monkeypatch, stage):
    context = opened(tmp_path, "evolution")
    searching = Searching(context)
    given = searching.ask(0)
    assert given is not None
    lost = Outcome(status="failed", metrics={}, epoch=0, error="OSError: No space left", failure_kind="storage")
    if stage == "gone":
        context.folder.rename(tmp_path / "unmounted")
    else:
        monkeypatch.setattr("automl_kd.results.store.folder.DISK_SPACE", 2**60)
    message = {"gone": "is not there any more; bring its file system back", "full": "MiB free"}[stage]
    with pytest.raises(ResultError, match=message):
        searching.on_outcome(given.spec, lost, {})
    if stage == "gone":
        assert not context.folder.exists()
        (tmp_path / "unmounted").rename(context.folder)
    monkeypatch.undo()
    assert context.table.read().empty
    assert sit(context, -1) == list(range(TRIALS))


def test_storage_that_failed_where_ours_is_sound_is_the_trials_own_failure(tmp_path):
    context = opened(tmp_path, "random")
    searching = Searching(context)
    given = searching.ask(0)
    assert given is not None
    lost = Outcome(status="failed", metrics={}, epoch=0, error="OSError: Input/output error", failure_kind="storage")
    searching.on_outcome(given.spec, lost, {})
    assert context.table.read()["failure_kind"].tolist() == ["storage"]
