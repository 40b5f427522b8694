"""Whatever breaks a trial, and wherever, it continues to the same bits: every method, with all that it carries along.

A trial that is killed loses what it had not saved; an exception out of the middle of an epoch leaves the same files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args, get_type_hints

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
from automl_kd.training.loop import TrainingRun
from tests.conformance.trials import EPOCHS, STATEFUL, TRIALS, difference, every_trial, left_by, quick, run, spec_of
from tests.losses.outputs import example, outputs

__all__ = ["quick"]

pytestmark = pytest.mark.usefixtures("quick")


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
