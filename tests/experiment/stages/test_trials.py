"""Which trials of a fixed list a later sitting carries out again, without Ray."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from automl_kd.config import to_record
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.records import row_of
from automl_kd.experiment.stages import trials
from automl_kd.experiment.stages.trials import Entrant, carry_out_all
from automl_kd.results.store.folder import open_folder
from automl_kd.spec import FailureKind, Outcome
from tests import tiny

REASONS: dict[int, FailureKind | None] = {3: "diverged", 4: "timeout", 5: "memory", 6: "died", 7: "other", 8: None}


@pytest.fixture
def asked(monkeypatch) -> list[int]:
    """Widths of the trials that a runner would be given, which here does nothing."""
    widths: list[int] = []

    def run(ask: Any, **_rest: Any) -> None:
        index = 0
        while (given := ask(index)) is not None:
            widths.append(int(given.spec.architecture.as_dict()["width"]))
            index += 1

    monkeypatch.setattr(trials, "run_trials", run)
    monkeypatch.setattr(
        "automl_kd.experiment.progress.reporter.concurrency", lambda _resources: 1
    )  # there is no Ray to ask
    return widths


def opened(tmp_path, **trial: Any) -> ExperimentContext:
    plain = tiny.experiment()
    experiment = dataclasses.replace(plain, trial=dataclasses.replace(plain.trial, **trial))
    context = prepare_experiment(experiment, Roots(results=tmp_path / "results", data=tmp_path), Silent())
    open_folder(context.folder, to_record(context.experiment))
    return context


def carried_out(context: ExperimentContext) -> None:
    entrants = [Entrant("found-method", tiny.spec(width=width)) for width in (2, *REASONS)]
    carry_out_all(context, entrants, trial_kind="final", title="finals")


@pytest.mark.parametrize(("retry_failed", "again"), [(False, [5, 6, 7, 8]), (True, [3, 4, 5, 6, 7, 8])])
def test_what_would_fail_again_is_repeated_only_if_asked_for(tmp_path, asked, retry_failed, again):
    context = opened(tmp_path, retry_failed=retry_failed)
    for width in (2, *REASONS):
        reason = REASONS.get(width)
        error = f"failed: {reason}" if width in REASONS else ""
        outcome = Outcome(
            status="failed" if error else "complete", metrics={}, epoch=3, error=error, failure_kind=reason
        )
        row = row_of(
            context,
            tiny.spec(width=width),
            outcome,
            trial_kind="final",
            role="found-method",
            started=datetime.now(UTC),
            device="cpu",
        )
        context.table.append(row)
    carried_out(context)
    assert asked == again
