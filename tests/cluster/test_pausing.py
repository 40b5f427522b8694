"""Tune's schedulers and loggers on our trials: paused and continued exactly, stopped by the median, told once."""

from __future__ import annotations

import dataclasses
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from automl_kd.cluster.loggers import require_loggers
from automl_kd.cluster.tune_runner import run_trials
from automl_kd.cluster.tune_searcher import Assignment, Curve
from automl_kd.config import Resources, SearchSection
from automl_kd.errors import ConfigError
from automl_kd.methods import run_trial
from automl_kd.spec import Outcome, Recipe, TrialSpec
from tests import tiny
from tests.conformance.trials import content, difference


def carry_out_all(
    root: Path, specs: list[TrialSpec], search: SearchSection | None, *, pausable: bool = False, **resources: Any
) -> dict[str, tuple[Outcome, Curve]]:
    """What came of each trial, by its key."""
    found: dict[str, tuple[Outcome, Curve]] = {}

    def ask(index: int) -> Assignment | None:
        if index >= len(specs):
            return None
        place = dataclasses.replace(tiny.place(root, specs[index]), pausable=pausable)
        return Assignment(spec=specs[index], paths=place)

    run_trials(
        ask,
        on_epoch=lambda *_: None,
        on_outcome=lambda spec, outcome, curve: found.update({spec.key: (outcome, curve)}),
        resources=Resources(device="cpu", **resources),
        search=search,
        epochs=max(spec.recipe.epochs for spec in specs),
        scratch=root,
    )
    return found


@pytest.mark.ray
def test_hyperband_pauses_and_continues_a_trial_to_the_bits_of_an_unbroken_one(ray_session, tmp_path):
    # One at a time. They are paused after one epoch, until the last of them, which hardly learns, has come there, and
    # the best goes on.
    rates = {6: 0.2, 7: 0.2, 8: 1e-9}
    specs = [
        tiny.spec(method="tests.cluster.counted:Counted", width=width, recipe=Recipe(epochs=3, batch_size=16, lr=rate))
        for width, rate in rates.items()
    ]
    search = SearchSection(scheduler="hyperband", reduction=3.0, trials=3)
    found = carry_out_all(tmp_path, specs, search, pausable=True, cpus=4)
    assert sorted(found[spec.key][0].epoch for spec in specs) == [1, 1, 3]
    (through,) = [spec for spec in specs if found[spec.key][0].epoch == 3]
    place = tiny.place(tmp_path, through)
    assert (place.trial / "sittings").read_text().split() == ["0", "1"]
    unbroken, recorder, threads = tmp_path / "unbroken", tiny.Recorder(), torch.get_num_threads()
    torch.set_num_threads(4)  # as in the workers: the number moves the last digits of sums
    try:
        run_trial(through, recorder, dataclasses.replace(place, trial=unbroken))
    finally:
        torch.set_num_threads(threads)
    for name in ("student.pt", "student_best.pt", "checkpoint.pt"):
        assert not difference(content(unbroken / name), content(place.trial / name))
    assert not difference(recorder.seen, found[through.key][1])


@pytest.mark.ray
def test_the_median_rule_stops_what_lies_below_the_others(ray_session, tmp_path):
    # one after the other: three complete, the fourth is worse than their median from the second epoch on
    specs = [tiny.spec(width=width, recipe=Recipe(epochs=4)) for width in (10, 9, 8, 2)]
    search = SearchSection(scheduler="median", grace_epochs=2, median_trials=3)
    found = carry_out_all(tmp_path, specs, search, max_concurrent=1)
    assert [(found[spec.key][0].status, found[spec.key][0].epoch) for spec in specs] == [
        *[("complete", 4)] * 3,
        ("stopped", 2),
    ]


INSTALLED = [name for name in ("tensorboardX", "mlflow", "wandb") if importlib.util.find_spec(name)]


def names_of(spec: TrialSpec) -> str:
    return f"{spec.key} width {spec.architecture.as_dict()['width']} tests.tiny:Pretend"


@pytest.fixture(scope="module")
def logged(ray_session, tmp_path_factory) -> tuple[Path, list[TrialSpec]]:
    """Three trials of three epochs, told to every logger whose package is here: 3 fails, 6 loses its worker once."""
    root = tmp_path_factory.mktemp("logged") / "mine"
    root.mkdir()
    specs = [tiny.spec(width=width, options={"fail": 3, "die": 6}) for width in (2, 3, 6)]
    named = {"tensorboardX": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}
    # MLflow uses what SQLAlchemy will drop
    with warnings.catch_warnings(action="ignore"), pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "WANDB_API_KEY", "WANDB_MODE"):
            patch.delenv(name, raising=False)
        carry_out_all(root, specs, None, max_concurrent=2, loggers=tuple(named[one] for one in INSTALLED))
        patch.delenv("WANDB_MODE", raising=False)
    return root / "loggers", specs


@pytest.mark.ray
@pytest.mark.skipif("tensorboardX" not in INSTALLED, reason="tensorboardX is not installed")
def test_tensorboard_has_each_epoch_of_a_trial_once_under_its_name(logged):
    from tensorboardX.proto.event_pb2 import Event

    folder, specs = logged
    for spec, epochs in zip(specs, ([1, 2, 3], [], [1, 2, 3]), strict=True):
        (events,) = (folder / "tensorboard" / names_of(spec).replace(" ", "-").replace(":", "-")).glob("events.*")
        steps, content = [], events.read_bytes()
        while content:  # length, its checksum, the event, its checksum
            length = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + length])
            steps += [event.step for value in event.summary.value if value.tag == "ray/tune/val_accuracy"]
            content = content[16 + length :]
        assert steps == epochs


@pytest.mark.ray
@pytest.mark.skipif("mlflow" not in INSTALLED, reason="mlflow-skinny is not installed")
def test_mlflow_has_a_run_for_each_trial(logged):
    import mlflow

    folder, specs = logged
    client = mlflow.tracking.MlflowClient(f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mine")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {names_of(spec) for spec in specs}
    first, failed, _ = (runs[names_of(spec)] for spec in specs)
    assert (first.info.status, failed.info.status) == ("FINISHED", "FAILED")
    assert first.data.params["width"] == "2"
    history = client.get_metric_history(first.info.run_id, "val_accuracy")
    assert [(one.step, one.value) for one in history] == [
        (epoch, tiny.pretended(2, epoch, 3)["val_accuracy"]) for epoch in (1, 2, 3)
    ]


@pytest.mark.ray
@pytest.mark.skipif("wandb" not in INSTALLED, reason="wandb is not installed")
def test_weights_and_biases_has_an_offline_run_for_each_trial(logged):
    folder, specs = logged
    runs = [path.name for path in (folder / "wandb").rglob("run-*.wandb")]
    assert sorted(runs) == sorted(f"run-{spec.key}.wandb" for spec in specs)


def test_a_logger_that_is_not_installed_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    sentence = (
        "^trial.loggers names 'mlflow' and its package is not installed; pip install mlflow-skinny, or leave it out$"
    )
    with pytest.raises(ConfigError, match=sentence):
        require_loggers(["mlflow"])
    require_loggers([])
