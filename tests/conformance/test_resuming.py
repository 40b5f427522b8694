"""Whatever breaks a trial, and wherever, it continues to the same bits: every method, with all that it carries along.

A trial that is killed loses what it had not saved; an exception out of the middle of an epoch leaves the same files.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.errors import StopTrial
from automl_kd.losses import DISTILLATION_LOSSES
from automl_kd.methods import METHODS
from automl_kd.methods.distpro.method import REPLAYS
from automl_kd.methods.lkd.method import LearningMode
from automl_kd.methods.subgraph.method import Subgraph
from automl_kd.spec import Stage, TeacherCacheOptions, TrialSpec
from automl_kd.training.checkpoint import load_checkpoint
from automl_kd.training.training_run import PROGRESS, TrainingRun
from automl_kd.training.trial import PASSES
from tests.conformance.trials import EPOCHS, STATEFUL, TRIALS, difference, every_trial, left_by, quick, run, spec_of
from tests.losses.outputs import example, outputs

__all__ = ["quick"]

pytestmark = pytest.mark.usefixtures("quick")


EVERY_STEP = 1e-9
"""Minutes between checkpoints that are over before a step is."""


class Killed(BaseException):
    """What nothing in the library catches."""


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, *, last: int = 0) -> Iterator[list[int]]:
    """Counts the batches that are trained on, in searches and in training; raises `Killed` at number `last`."""
    real, calls = TrainingRun.batch, [0]

    def batch(self: TrainingRun, rows: Tensor, epoch: int, *number: int) -> Batch:
        calls[0] += 1
        if calls[0] == last:
            raise Killed
        return real(self, rows, epoch, *number)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "batch", batch)
        yield calls


@every_trial
def test_broken_anywhere_it_comes_to_the_same_bits(tmp_path, monkeypatch, name: str):
    spec = spec_of(name, tmp_path)
    torch.manual_seed(1)
    with counted(monkeypatch) as calls:
        whole = run(spec, tmp_path, "whole")
    left = left_by(tmp_path / "whole")
    assert {"student.pt", "student_best.pt", "checkpoint.pt", "student.json"} <= left.keys()
    with counted(monkeypatch, last=1):  # a finished trial reports again without training
        assert run(spec, tmp_path, "whole").seen == whole.seen

    with pytest.raises(StopTrial):
        run(spec, tmp_path, "stopped", stop=2)
    torch.manual_seed(2)  # another process would not go on with the generator where this one stopped
    assert not difference(whole.seen, run(spec, tmp_path, "stopped").seen)
    assert not difference(left, left_by(tmp_path / "stopped"))

    life = calls[0] // 3 + 2  # more than an epoch, so that each sitting gets ahead, and not a whole number of them
    for sitting, last in enumerate([2, *[life] * calls[0]]):
        torch.manual_seed(100 + sitting)
        try:
            with counted(monkeypatch, last=last):
                run(spec, tmp_path, "killed", stop=EPOCHS)
        except Killed:
            continue
        except StopTrial:
            break
    assert sitting >= 3
    assert not difference(whole.seen, run(spec, tmp_path, "killed").seen)
    assert not difference(left, left_by(tmp_path / "killed"))


def kill_after_every_four_steps(spec: TrialSpec, root: Path, monkeypatch: pytest.MonkeyPatch, **paths: Any) -> int:
    """Carry the trial out in `root/killed`, with a checkpoint after each step; how many steps were taken in all.

    Each epoch of its six steps, of which four are taken in one life, is broken off at least once.
    """
    taken = 0
    for life in range(100):
        torch.manual_seed(100 + life)
        with counted(monkeypatch, last=5) as calls:
            try:
                run(spec, root, "killed", checkpoint_minutes=EVERY_STEP, **paths)
            except Killed:
                taken += calls[0] - 1
                continue
            assert life >= 3
            return taken + calls[0]
    raise AssertionError("the trial makes no progress")


@every_trial
def test_killed_inside_epochs_it_repeats_no_step_and_comes_to_the_same_bits(tmp_path, monkeypatch, name: str):
    spec = spec_of(name, tmp_path)
    with counted(monkeypatch) as calls:
        whole = run(spec, tmp_path, "whole", checkpoint_minutes=0)
    assert kill_after_every_four_steps(spec, tmp_path, monkeypatch) == calls[0]
    assert not difference(whole.seen, run(spec, tmp_path, "killed").seen)
    assert not difference(left_by(tmp_path / "whole"), left_by(tmp_path / "killed"))


@pytest.mark.parametrize("name", ["kd", "distil stateful", "distpro equal"])
def test_so_it_does_where_gradients_are_accumulated(tmp_path, monkeypatch, name: str):
    spec = spec_of(name, tmp_path)
    spec = dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, grad_accumulation=2))
    whole = run(spec, tmp_path, "whole")
    kill_after_every_four_steps(spec, tmp_path, monkeypatch)
    assert not difference(whole.seen, run(spec, tmp_path, "killed").seen)
    assert not difference(left_by(tmp_path / "whole"), left_by(tmp_path / "killed"))


@pytest.mark.parametrize("name", ["kd", "prokt"])
def test_so_it_does_where_hyperparameters_follow_a_schedule(tmp_path, monkeypatch, name: str):
    changes = {"recipe.lr": 0.05, "recipe.weight_decay": 0.01, "method.temperature": 2.0}
    spec = dataclasses.replace(spec_of(name, tmp_path), schedule=(Stage(1 / 3, changes),))
    whole = run(spec, tmp_path, "whole")
    kill_after_every_four_steps(spec, tmp_path, monkeypatch)
    assert not difference(whole.seen, run(spec, tmp_path, "killed").seen)
    assert not difference(left_by(tmp_path / "whole"), left_by(tmp_path / "killed"))
    plain = run(dataclasses.replace(spec, schedule=()), tmp_path, "plain")
    assert difference(whole.seen[2], plain.seen[2])  # the schedule changes something


@pytest.mark.parametrize("augment", ["crop", "none"])
@pytest.mark.parametrize("name", ["kd", "weighted_losses"])
def test_so_it_does_with_the_teacher_cache_whose_passes_it_counts_on(tmp_path, monkeypatch, name: str, augment: Any):
    spec = spec_of(name, tmp_path)
    spec = dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, augment=augment))
    plain = run(spec, tmp_path, "plain")
    cache = TeacherCacheOptions(keep="features")
    kill_after_every_four_steps(spec, tmp_path, monkeypatch, teacher_cache=cache)
    killed = run(spec, tmp_path, "killed", teacher_cache=cache)
    assert not difference(plain.seen, {epoch: without_passes(metrics) for epoch, metrics in killed.seen.items()})
    for file in ("student.pt", "student_best.pt"):
        assert not difference(left_by(tmp_path / "plain")[file], left_by(tmp_path / "killed")[file])
    # Six batches an epoch, each computed or read once, whichever life did so.
    asked = {epoch: metrics[PASSES[0]] + metrics[PASSES[1]] for epoch, metrics in killed.seen.items()}
    assert asked == {1: 6, 2: 12, 3: 18}


def without_passes(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in PASSES}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kd", "lkd joint", "subgraph inherit"])
def test_a_process_that_is_really_killed_inside_an_epoch_is_continued_there(tmp_path, monkeypatch, name: str):
    spec = spec_of(name, tmp_path)
    with counted(monkeypatch) as calls:
        whole = run(spec, tmp_path, "whole")
    process = multiprocessing.get_context("spawn").Process(target=run_slowly, args=(spec, tmp_path))
    process.start()
    saved = tmp_path / "killed" / ("search.pt" if name.startswith("subgraph") else "checkpoint.pt")
    steps = 0
    while process.is_alive() and not steps:
        state = load_checkpoint(saved, torch.device("cpu")) or {}
        steps = state.get("run", state).get(PROGRESS, {}).get("step", 0)
        time.sleep(0.01)
    assert steps, "it ended before it was killed"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with counted(monkeypatch) as rest:
        assert not difference(whole.seen, run(spec, tmp_path, "killed").seen)
    assert rest[0] <= calls[0] - steps
    assert not difference(left_by(tmp_path / "whole"), left_by(tmp_path / "killed"))


def run_slowly(spec: TrialSpec, root: Path) -> None:
    """Carry the trial out with a pause before each step, for somebody to kill it in."""
    torch.set_num_threads(1)
    real = TrainingRun.batch

    def batch(self: TrainingRun, rows: Tensor, epoch: int, *number: int) -> Batch:
        time.sleep(0.2)
        return real(self, rows, epoch, *number)

    TrainingRun.batch = batch  # type: ignore[method-assign]  # in a process of its own
    run(spec, root, "killed", checkpoint_minutes=EVERY_STEP)


def test_the_trials_are_of_every_method_mode_replay_and_choice():
    def having(method: str, option: str) -> set[object]:
        kind = METHODS[method]
        return {one.options.get(option, getattr(kind, option)) for one in TRIALS.values() if one.method == method}

    assert {trial.method for trial in TRIALS.values()} == set(METHODS)
    assert having("lkd", "mode") == set(get_args(LearningMode))
    assert having("distpro", "replay") == set(REPLAYS)
    assert having("subgraph", "choose") == set(get_args(get_type_hints(Subgraph)["choose"]))


def test_the_trials_hold_every_loss_that_has_something_to_remember():
    one, two = outputs(0), outputs(1)
    made = {name: kind().make(example(one, two)) for name, kind in DISTILLATION_LOSSES.items()}
    assert {name for name, loss_function in made.items() if isinstance(loss_function, nn.Module)} == set(STATEFUL)
