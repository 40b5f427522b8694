"""The runner over bare Ray Tune: time per trial when trials are empty, and how busy workers are when they are not.

Run it from the project's root: `python -m benchmarks.perf.runner [--trials 200] [--rounds 5] [--seconds 20]`.

- *ours*: `tune_runner.run` with a method that reports one epoch and trains nothing; every outcome is made a row and is
  durable in the table before the next trial is given out, as in a search.
- *bare*: `tune.Tuner` with a function that reports one number, Tune's defaults but for `reuse_actors`, `verbose=0`, two
  trials at once. Its default loggers put results on disk, without fsync.
- *unlogged*: the same without loggers and snapshots: nothing is kept.

Seconds per trial are by the clock, from the outcome with which the first tenth of the trials is done to the last: by
then workers have started, which takes ours longer, as torch is imported. All take turns, in one Ray of two CPUs. The
time of the driver's processor is printed beside it.

Busy: trials that wait for so many seconds, in ten epochs, on two workers; the share of the workers' time between the
beginning of the first trial and the end of the last that trials were carried out in.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

from ray import tune

from automl_kd.cluster.sessions.private import private_ray
from automl_kd.cluster.sessions.session import QUIET
from automl_kd.cluster.tune_runner import run_trials
from automl_kd.cluster.tune_searcher import Assignment, Curve
from automl_kd.config import Resources
from automl_kd.results import Point, ResultTable
from automl_kd.space import Architecture
from automl_kd.spec import DataSpec, Outcome, Recipe, Report, TrialPaths, TrialSpec
from benchmarks.perf.alternation import Comparison, markdown
from tests.results.synthetic import row

WORKERS = 2
EPOCHS = 10
OURS_ALONE = ("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "TUNE_GLOBAL_CHECKPOINT_S")
"""Settings that the runner makes and that bare Tune has not."""

LIMIT_BUSY = 0.95


@dataclass(frozen=True)
class Idle:
    """A method that trains nothing. It waits, and leaves in the trial's folder when it began and ended."""

    needs_teacher: ClassVar[bool] = False
    seconds: float = 0.0

    def macs(self, student: int, teacher: int) -> int:
        return student + teacher

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        begun = time.time()
        for epoch in range(1, spec.recipe.epochs + 1):
            time.sleep(self.seconds / spec.recipe.epochs)
            if self.seconds and epoch == spec.recipe.epochs:
                paths.trial.mkdir(parents=True, exist_ok=True)
                (paths.trial / "span").write_text(f"{begun} {time.time()}")
            report({"val_accuracy": 0.5}, epoch=epoch)


def empty(_config: dict[str, Any]) -> None:
    tune.report({"val_accuracy": 0.5})


class Stamps(tune.Callback):  # type: ignore[misc]  # ray is untyped here
    """When each trial was done, as the driver sees it."""

    def __init__(self) -> None:
        self.clock: list[float] = []
        self.processor: list[float] = []

    def on_trial_complete(self, *_: object, **__: object) -> None:
        self.clock.append(time.perf_counter())
        self.processor.append(time.process_time())

    def per_trial(self) -> tuple[float, float]:
        """Seconds of the clock and of the driver's processor, after the first tenth."""
        first = len(self.clock) // 10
        spans = (times[-1] - times[first] for times in (self.clock, self.processor))
        clock, processor = (span / (len(self.clock) - 1 - first) for span in spans)
        return clock, processor


def ours(root: Path, trials: int, *, epochs: int = 1, seconds: float = 0.0) -> Stamps:
    """Trials through our runner, recorded."""
    stamps, table = Stamps(), ResultTable(root / "results")
    plain = TrialSpec(
        space="search_spaces.resnet:SPACE",
        architecture=Architecture(()),
        method="benchmarks.perf.runner:Idle",
        options={"seconds": seconds} if seconds else {},
        data=DataSpec(),
        recipe=Recipe(epochs=epochs),
        seed=0,
    )

    def ask(index: int) -> Assignment | None:
        spec = replace(plain, seed=index)
        paths = TrialPaths(trial=root / "trials" / spec.key, teachers=root, data=root)
        return Assignment(spec=spec, paths=paths) if index < trials else None

    def on_outcome(spec: TrialSpec, outcome: Outcome, curve: Curve) -> None:
        points = [Point(epoch=epoch, val_accuracy=metrics["val_accuracy"]) for epoch, metrics in curve.items()]
        table.append(row(key=spec.key, seed=spec.seed, status=outcome.status, spec_json=spec.to_json()), points)
        stamps.on_trial_complete()

    run_trials(
        ask,
        on_epoch=lambda *_: None,
        on_outcome=on_outcome,
        resources=Resources(device="cpu", max_concurrent=WORKERS),
        search=None,
        epochs=epochs,
        scratch=root,
    )
    assert len(table.keys("search")) == trials
    return stamps


def bare(root: Path, trials: int, *, logged: bool) -> Stamps:
    stamps = Stamps()
    with settings(of_ours=not logged):
        tune.Tuner(
            tune.with_resources(empty, {"cpu": 1}),
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=WORKERS, reuse_actors=True),
            run_config=tune.RunConfig(name="bare", storage_path=str(root), verbose=0, callbacks=[stamps]),
        ).fit()
    assert len(stamps.clock) == trials
    return stamps


@contextmanager
def settings(*, of_ours: bool) -> Iterator[None]:
    """The runner's settings of Tune, or Tune's own."""
    kept = {name: value for name, value in os.environ.items() if of_ours or name not in OURS_ALONE}
    with patch.dict(os.environ, kept, clear=True):
        yield


def overhead(trials: int, rounds: int) -> None:
    contestants: dict[str, Callable[[Path], Stamps]] = {
        "ours": lambda root: ours(root, trials),
        "bare": lambda root: bare(root, trials, logged=True),
        "unlogged": lambda root: bare(root, trials, logged=False),
    }
    clock: dict[str, list[float]] = {name: [] for name in contestants}
    processor: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in contestants if number % 2 else reversed(contestants):
            with tempfile.TemporaryDirectory() as folder:
                one, two = contestants[name](Path(folder)).per_trial()
            clock[name].append(one)
            processor[name].append(two)
    comparisons = [Comparison("ours", "bare", limit=1.1), Comparison("ours", "unlogged")]
    for what, spent in {"the clock": clock, "the driver's processor": processor}.items():
        medians = ", ".join(f"{name} {1e3 * statistics.median(each):.1f}" for name, each in spent.items())
        print(f"{trials} empty trials, {WORKERS} at once, by {what}: ms per trial {medians}")
        print(markdown(spent, comparisons))


def busy(trials: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, begun = Path(folder), time.time()
        ours(root, trials, epochs=EPOCHS, seconds=seconds)
        whole = time.time() - begun
        spans = [[float(word) for word in file.read_text().split()] for file in (root / "trials").glob("*/span")]
    starts, ends = zip(*spans, strict=True)
    worked = sum(ends) - sum(starts)
    share = worked / (WORKERS * (max(ends) - min(starts)))
    print(
        f"{trials} trials of {seconds:g} s on {WORKERS} workers: busy {share:.1%} of the time "
        f"(limit {LIMIT_BUSY:.0%}), {worked / (WORKERS * whole):.1%} with the start of workers and the end of the run"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=200, help="empty ones in a run (default: 200)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each kind (default: 5)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a trial that waits (default: 20)")
    options = parser.parse_known_args()[0]
    with private_ray(num_cpus=WORKERS, **QUIET):
        overhead(options.trials, options.rounds)
        busy(8, options.seconds)


if __name__ == "__main__":
    main()
