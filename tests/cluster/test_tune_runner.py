"""Ray Tune as our runner: failures and deaths survived, losers stopped, replays not trained, one channel back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import ray

from automl_kd.cluster.lasting_workers import WorkerPool
from automl_kd.cluster.schedulers import make_scheduler
from automl_kd.cluster.tune_runner import run_trials
from automl_kd.cluster.tune_searcher import Assignment, Curve, Metrics
from automl_kd.config import Resources, SearchSection
from automl_kd.errors import ConfigError
from automl_kd.spec import Outcome, Recipe, TrialSpec
from tests import tiny

pytestmark = pytest.mark.ray


@dataclass
class SearchSession:
    """One call of `run`, and all that it called back, by width."""

    root: Path
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    curves: dict[int, Curve] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    live: int = 0
    peak: int = 0

    def run(
        self,
        specs: Sequence[TrialSpec],
        resources: Resources,
        search: SearchSection | None = None,
        replays: dict[int, list[Metrics]] | None = None,
        break_at: int = 99,
        workers: WorkerPool | None = None,
    ) -> SearchSession:
        def ask(index: int) -> Assignment | None:
            if index == break_at:
                raise ConfigError("asked once too often")
            if index >= len(specs):
                return None
            self.live += 1
            self.peak = max(self.peak, self.live)
            one = specs[index]
            return Assignment(spec=one, paths=tiny.place(self.root, one), replay=(replays or {}).get(width_of(one)))

        run_trials(
            ask,
            on_epoch=lambda *_: None,
            on_outcome=self.on_outcome,
            resources=resources,
            search=search,
            epochs=max(one.recipe.epochs for one in specs),
            scratch=self.root,
            workers=workers,
        )
        return self

    def on_outcome(self, spec: TrialSpec, outcome: Outcome, curve: Curve) -> None:
        self.live -= 1
        self.order.append(width_of(spec))
        assert width_of(spec) not in self.outcomes
        self.outcomes[width_of(spec)], self.curves[width_of(spec)] = outcome, curve

    def trained(self, one: TrialSpec) -> list[str]:
        """The epochs that workers went through, in order, those of all attempts."""
        path = tiny.place(self.root, one).trial / "epochs"
        return path.read_text(encoding="utf-8").split() if path.exists() else []


def width_of(spec: TrialSpec) -> int:
    return int(spec.architecture.as_dict()["width"])


REPLAY: list[Metrics] = [{"val_accuracy": 0.1}, {"val_accuracy": 0.2, "params": 50.0}, {"val_accuracy": 0.25}]
MIXED = [tiny.spec(width=width, options={"fail": 3, "die": 6, "seconds": 0.05}) for width in (2, 3, 4, 5, 6, 7)]


@pytest.fixture(scope="module")
def mixed(ray_session, tmp_path_factory) -> SearchSession:
    """Six trials, two at once: 3 fails, 5 is replayed, 6 loses its worker once, the others are sound."""
    root = tmp_path_factory.mktemp("mixed")
    return SearchSession(root).run(MIXED, Resources(device="cpu", max_concurrent=2), replays={5: REPLAY})


def test_sound_trials_are_complete_with_what_they_reported(mixed):
    assert set(mixed.outcomes) == {2, 3, 4, 5, 6, 7}
    for width in (2, 4, 7):
        assert mixed.outcomes[width] == Outcome(status="complete", metrics=tiny.pretended(width, 3, 3), epoch=3)
        assert mixed.curves[width] == {epoch: tiny.pretended(width, epoch, 3) for epoch in (1, 2, 3)}


def test_a_failure_is_recorded_with_its_reason_and_the_rest_goes_on(mixed):
    assert mixed.outcomes[3] == Outcome(
        status="failed", metrics={}, epoch=0, error="RuntimeError: this width never works", failure_kind="other"
    )
    assert mixed.trained(MIXED[1]) == ["1"]


def test_a_killed_worker_is_replaced_and_its_curve_has_each_epoch_once(mixed):
    assert mixed.outcomes[6] == Outcome(status="complete", metrics=tiny.pretended(6, 3, 3), epoch=3)
    assert sorted(mixed.curves[6]) == [1, 2, 3]
    assert mixed.trained(MIXED[4]) == ["1", "2", "1", "2", "3"]


def test_a_replay_is_reported_and_not_trained(mixed):
    assert mixed.outcomes[5] == Outcome(status="complete", metrics={"val_accuracy": 0.25}, epoch=3)
    assert mixed.curves[5] == dict(enumerate(REPLAY, start=1))
    assert mixed.trained(MIXED[3]) == []


def test_as_many_run_at_once_as_were_asked_for(mixed):
    assert mixed.peak == 2


def test_nothing_of_tune_is_left_behind(mixed):
    assert sorted(path.name for path in mixed.root.iterdir()) == ["trials"]


def test_asha_stops_what_promises_least(ray_session, tmp_path):
    # Each of nine trials, one after the other, is worse than all before it: the first runs to its end, every later one
    # lies below the best third of the first rung and ends there.
    specs = [tiny.spec(width=width, recipe=Recipe(epochs=9)) for width in range(10, 1, -1)]
    sitting = SearchSession(tmp_path).run(
        specs, Resources(device="cpu", max_concurrent=1), SearchSection(scheduler="asha", grace_epochs=1, reduction=3.0)
    )
    assert (sitting.outcomes[10].status, sitting.outcomes[10].epoch) == ("complete", 9)
    for spec in specs[1:]:
        width = width_of(spec)
        assert sitting.outcomes[width] == Outcome(status="stopped", metrics=tiny.pretended(width, 1, 9), epoch=1)
        assert sitting.trained(spec) == ["1"]
    assert sitting.order == list(range(10, 1, -1))


def test_without_retries_a_killed_worker_is_a_failed_trial_and_cpus_limit_how_many_run(ray_session, tmp_path):
    specs = [tiny.spec(width=width, options={"die": 3}) for width in (2, 3, 4)]
    sitting = SearchSession(tmp_path).run(specs, Resources(device="cpu", cpus=2, retries=0))
    assert [sitting.outcomes[width].status for width in (2, 3, 4)] == ["complete", "failed", "complete"]
    failed = sitting.outcomes[3]
    assert (failed.error, failed.epoch) == ("its worker process died (killed, crashed or out of memory)", 1)
    assert sitting.peak == 2  # two CPUs each, of four


def test_an_error_of_the_caller_ends_the_run_and_is_raised(ray_session, tmp_path):
    session = SearchSession(tmp_path)
    with pytest.raises(ConfigError, match="asked once too often"):
        session.run([tiny.spec(width=2), tiny.spec(width=3)], Resources(device="cpu", max_concurrent=1), break_at=1)
    assert [path.name for path in tmp_path.iterdir()] == ["trials"]
    assert ray.is_initialized()


@pytest.mark.parametrize(
    ("search", "epochs"),
    [
        (None, 9),
        (SearchSection(scheduler="none"), 9),
        (SearchSection(scheduler="asha", grace_epochs=9), 9),
        (SearchSection(scheduler="asha", grace_epochs=3), 2),
    ],
)
def test_no_scheduler_where_it_could_stop_nothing(search, epochs):
    assert make_scheduler(search, epochs) is None
