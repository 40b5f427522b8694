"""What the watcher hears of a stage's trials, through the callbacks that the runner calls."""

from __future__ import annotations

from automl_kd.cluster.tune_searcher import Assignment
from automl_kd.experiment.progress.events import Silent, TrialStatus
from automl_kd.experiment.progress.reporter import Billing, ProgressReporter
from automl_kd.spec import Outcome
from tests import tiny


class Ears(Silent):
    def __init__(self) -> None:
        self.heard: list[TrialStatus] = []

    def trial(self, trial: TrialStatus) -> None:
        self.heard.append(trial)


class Stage:
    """Two trials of three epochs; the second was carried out before."""

    def __init__(self, root) -> None:
        self.specs = [tiny.spec(width=4), tiny.spec(width=5)]
        replay = [{"val_accuracy": 0.1}, {"val_accuracy": 0.2, "train_macs": 9.0, "seconds": 3.0}]
        self.given = [
            Assignment(spec=self.specs[0], paths=tiny.place(root, self.specs[0])),
            Assignment(spec=self.specs[1], paths=tiny.place(root, self.specs[1]), replay=replay),
        ]
        self.calls: list[tuple[object, ...]] = []
        self.ears = Ears()
        self.teller = ProgressReporter(
            self.ears,
            lambda spec: Billing(label=f"width {spec.architecture.as_dict()['width']}", roles=("search",)),
            ask=lambda index: self.given[index] if index < 2 else None,
            on_epoch=lambda *call: self.calls.append(call),
            on_outcome=lambda *call: self.calls.append(call),
        )


def test_a_trial_is_told_from_its_beginning_to_its_end(tmp_path):
    stage = Stage(tmp_path)
    (spec, _), teller = stage.specs, stage.teller
    assert teller.ask(0) is stage.given[0]
    for epoch in (1, 2, 1):  # after a restart it reports again what is known
        teller.on_epoch(spec, {"val_accuracy": epoch / 10, "train_macs": 5.0 * epoch, "seconds": epoch}, epoch)
    teller.on_outcome(spec, Outcome(status="failed", metrics={"val_accuracy": 0.2}, epoch=2, error="no luck"), {})
    heard = stage.ears.heard
    assert [(one.status, one.epoch, one.val_accuracy) for one in heard] == [
        ("running", 0, None),
        ("running", 1, 0.1),
        ("running", 2, 0.2),
        ("failed", 2, 0.2),
    ]
    last = heard[-1]
    assert (last.label, last.roles, last.epochs, last.train_macs, last.error) == (
        "width 4",
        ("search",),
        3,
        10.0,
        "no luck",
    )
    assert len(stage.calls) == 4
    assert teller.ask(2) is None


def test_a_replay_ended_when_it_was_carried_out(tmp_path):
    stage = Stage(tmp_path)
    spec, teller = stage.specs[1], stage.teller
    teller.ask(1)
    teller.on_epoch(spec, {"val_accuracy": 0.1}, 1)
    teller.on_outcome(spec, Outcome(status="stopped", metrics={"val_accuracy": 0.1}, epoch=1), {})
    (only,) = stage.ears.heard
    assert (only.status, only.epoch, only.val_accuracy, only.train_macs, only.seconds, only.recorded) == (
        "stopped",
        2,
        0.2,
        9.0,
        3.0,
        True,
    )
    assert len(stage.calls) == 2
