"""An outcome becomes a row and a curve, and these become the same reports again."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from automl_kd.cluster.tune_searcher import Curve
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.records import COUNTED, MEASURED_COLUMNS, points_of, replays, row_of, validation_of
from automl_kd.experiment.stages.search import on_record
from automl_kd.results.store.row import PRECISIONS
from automl_kd.spec import Outcome, TrialSpec
from automl_kd.tasks import find_task
from tests import tiny

EARLIER = {"train_loss": 1.5, "val_accuracy": 0.25, "val_loss": 1.25, "lr": 0.05, "seconds": 1.0}
COST = {"params": 59.0, "macs": 2316.0}
LAST = {
    **EARLIER,
    **COST,
    "val_accuracy": 0.75,
    "val_accuracy_best": 0.8,
    "teacher_passes": 9.0,
    "teacher_passes_saved": 3.0,
    "teacher_seconds_saved": 0.5,
    "images_delivered": 300.0,
    "images_decoded": 150.0,
    "loader_seconds": 0.25,
    "best_epoch": 2.0,
    "val_images": 22.0,
    "val_majority_fraction": 0.5,
    "test_accuracy": 0.7,
    "test_accuracy_best": 0.71,
    "latency_ms": 0.5,
    "latency_iqr_ms": 0.05,
    "latency_batch": 1.0,
    "latency_threads": 1.0,
    "int8_val_accuracy": 0.625,
    "int8_seconds": 4.0,
    "train_macs": 3.5e9,
    "seconds": 3.0,
}
CURVE: Curve = {1: {**EARLIER, **COST}, 2: {**EARLIER, **COST, "seconds": 2.0}, 3: LAST}


@pytest.fixture
def lab(tmp_path) -> ExperimentContext:
    return prepare_experiment(tiny.experiment(), Roots(results=tmp_path / "results", data=tmp_path), Silent())


def record(context: ExperimentContext, spec: TrialSpec, outcome: Outcome, curve=CURVE) -> None:
    row = row_of(
        context, spec, outcome, trial_kind="search", role="search", proposal=0, started=datetime.now(UTC), device="cpu"
    )
    context.table.append(row, points_of(curve))


def replayed(context: ExperimentContext):
    return replays(context.table.read(), context.table.curves())


def test_every_column_that_is_measured_is_known():
    assert set(LAST) - {"val_loss", "lr"} == {*MEASURED_COLUMNS, *COUNTED}


@pytest.mark.parametrize("fold", [False, True])
def test_a_complete_trial_reports_the_same_again(lab, fold):
    spec = tiny.spec()
    outcome = Outcome(status="complete", metrics=LAST, epoch=3)
    record(lab, spec, outcome)
    if fold:
        lab.table.fold()
    again = replayed(lab)[spec.key]
    assert again == [CURVE[1], CURVE[2], LAST]
    assert on_record(spec, again) == outcome


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_precision_is_a_word_on_record_and_a_number_in_reports(lab, precision):
    told = {"precision": float(PRECISIONS.index(precision))}
    spec, curve = tiny.spec(), {epoch: {**metrics, **told} for epoch, metrics in CURVE.items()}
    record(lab, spec, Outcome(status="complete", metrics=curve[3], epoch=3), curve)
    assert list(lab.table.read()["precision"]) == [precision]
    assert replayed(lab)[spec.key] == list(curve.values())


def test_of_a_trial_that_did_not_say_the_precision_is_not_known(lab):
    record(lab, tiny.spec(), Outcome(status="complete", metrics=LAST, epoch=3))
    assert lab.table.read()["precision"].isna().all()


def test_a_stopped_trial_reports_as_far_as_it_came(lab):
    spec = tiny.spec()
    outcome = Outcome(status="stopped", metrics=CURVE[2], epoch=2)
    record(lab, spec, outcome, {1: CURVE[1], 2: CURVE[2]})
    again = replayed(lab)[spec.key]
    assert again == [CURVE[1], CURVE[2]]
    assert on_record(spec, again) == outcome


def test_failed_trials_and_those_without_a_curve_are_tried_again(lab):
    record(lab, tiny.spec(width=2), Outcome(status="failed", metrics=CURVE[2], epoch=2, error="no luck"))
    record(lab, tiny.spec(width=3), Outcome(status="stopped", metrics={}, epoch=0), {})
    record(lab, tiny.spec(width=4), Outcome(status="complete", metrics=LAST, epoch=3))
    assert list(replayed(lab)) == [tiny.spec(width=4).key]


def test_a_row_says_what_was_done_and_can_be_done_again(lab):
    spec = tiny.spec(options={"seconds": 0.5}, seed=4, teacher=tiny.TEACHER)
    record(lab, spec, Outcome(status="failed", metrics=CURVE[1], epoch=1, error="no luck"))
    (row,) = lab.table.read().to_dict("records")
    assert TrialSpec.from_json(row["spec_json"]) == spec
    wanted = {
        "key": spec.key,
        "architecture_id": spec.architecture.key,
        "values_json": '{"width": 4}',
        "student": "width 4",
        "options_json": '{"seconds": 0.5}',
        "teacher": "tests.tiny:teacher",
        "error": "no luck",
        "epochs": 3,
        "epochs_done": 1,
        "val_accuracy": 0.25,
        "params": 59,
        "seed": 4,
        "experiment": "tiny",
    }
    assert {name: row[name] for name in wanted} == wanted
    assert row["device"].startswith("cpu")
    assert '"torch"' in row["versions_json"]


def test_an_outcome_without_an_error_has_none_on_record(lab):
    record(lab, tiny.spec(), Outcome(status="complete", metrics=LAST, epoch=3))
    assert lab.table.read()["error"].isna().all()


def test_points_are_in_order_of_epochs():
    turned = dict(reversed(CURVE.items()))
    assert [point.epoch for point in points_of(turned)] == [1, 2, 3]
    assert dataclasses.asdict(points_of(CURVE)[0]) == {"epoch": 1, **EARLIER}


@pytest.mark.parametrize(("metric", "has"), [("accuracy", True), ("macro_f1", False)])
def test_the_largest_class_counts_only_beside_accuracy(lab, metric, has):
    task = find_task("classification", metric)
    facts = validation_of(dataclasses.replace(lab, dataset=dataclasses.replace(lab.dataset, task=task)))
    labels = lab.dataset.validation.labels
    assert facts["val_images"] == len(labels)
    expected = int(labels.bincount().max()) / len(labels) if has else None
    assert facts.get("val_majority_fraction") == expected
