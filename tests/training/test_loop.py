"""The loop continues exactly, looks at test images once, keeps the best weights, and refuses losses without value."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.data import Batch, epoch_order
from automl_kd.errors import CheckpointError, StopTrial, TrialError
from automl_kd.spec import Recipe
from automl_kd.training import batches, checkpoint, loop, training_run
from automl_kd.training.evaluate import evaluate
from tests import tiny


class Recorder:
    """A report that keeps everything, and stops the trial after epoch `stop` if that is given."""

    def __init__(self, stop: int = 0) -> None:
        self.stop = stop
        self.seen: dict[int, dict[str, float]] = {}

    def __call__(self, metrics: Mapping[str, float], *, epoch: int) -> None:
        self.seen[epoch] = dict(metrics)
        if epoch == self.stop:
            raise StopTrial


EVERY_STEP = 1e-9
"""Minutes between checkpoints that are over before a step is."""


class Clock:
    """A clock on which nothing takes time but the steps; counts those."""

    def __init__(self, seconds_per_step: float) -> None:
        self.now, self.each, self.steps, self.looks = 1000.0, seconds_per_step, 0, 0

    def step(self) -> None:
        self.now += self.each
        self.steps += 1

    def monotonic(self) -> float:
        self.looks += 1
        return self.now


def fresh() -> nn.Module:
    torch.manual_seed(7)
    return tiny.Net(tiny.SHAPE, 4)


def run(
    folder: Path,
    recipe: Recipe,
    *,
    stop: int = 0,
    break_at: int = 0,
    pausable: bool = False,
    minutes: float = 0.0,
    clock: Clock | None = None,
) -> tuple[nn.Module, Recorder]:
    """Train a fresh network; `break_at`: an error in that step of this sitting, as a kill would be."""
    student, recorder, step = fresh(), Recorder(stop), 0

    def objective(batch: Batch) -> Mapping[str, Tensor]:
        nonlocal step
        step += 1
        if clock is not None:
            clock.step()
        if step == break_at:
            raise KeyboardInterrupt
        return {"ce": F.cross_entropy(student(batch.inputs), batch.labels)}

    loop.fit_student(
        student,
        objective,
        tiny.dataset(),
        recipe,
        seed=3,
        folder=folder,
        report=recorder,
        finish=lambda: {"extra": 1.0},
        pausable=pausable,
        checkpoint_minutes=minutes,
    )
    return student, recorder


def equal(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def timeless(recorder: Recorder) -> dict[int, dict[str, float]]:
    return {epoch: {k: v for k, v in metrics.items() if k != "seconds"} for epoch, metrics in recorder.seen.items()}


RECIPES = [
    Recipe(epochs=4, batch_size=16, lr=0.1, clip_norm=1.0),
    Recipe(epochs=4, batch_size=20, lr=0.01, optimizer="adamw", warmup=0.25, channels_last=False),
    Recipe(epochs=4, batch_size=40, lr=0.1, schedule="multistep", augment="none", nesterov=False),
    Recipe(epochs=4, batch_size=16, lr=0.1, last_epoch=0.5),
]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_stopped_run_continues_to_the_same_weights_bit_for_bit(tmp_path, monkeypatch, recipe, stop):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    unbroken, whole = run(tmp_path / "unbroken", recipe)
    with pytest.raises(StopTrial):
        run(tmp_path / "broken", recipe, stop=stop)
    continued, rest = run(tmp_path / "broken", recipe)
    assert equal(unbroken.state_dict(), continued.state_dict())
    assert timeless(whole) == timeless(rest)
    for name in ("student.pt", "student_best.pt"):
        saved = [torch.load(tmp_path / folder / name, weights_only=True) for folder in ("unbroken", "broken")]
        assert equal(*saved)


@pytest.mark.parametrize(
    ("recipe", "break_at"),
    [*((RECIPES[0], step) for step in (1, 4, 9, 15)), *((RECIPES[-1], step) for step in (9, 20))],
)
def test_a_run_killed_in_mid_epoch_continues_to_the_same_weights(tmp_path, monkeypatch, recipe, break_at):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    unbroken, whole = run(tmp_path / "unbroken", recipe)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", recipe, break_at=break_at)
    continued, rest = run(tmp_path / "broken", recipe)
    assert equal(unbroken.state_dict(), continued.state_dict())
    assert timeless(whole) == timeless(rest)


def test_the_last_epoch_ends_where_the_recipe_says(tmp_path):
    # 96 images in 6 batches of 16; 0.4 of an epoch are 2.4 steps, so 2 of the third epoch: 14 in all.
    recipe, seen = Recipe(epochs=3, batch_size=16, last_epoch=0.4), []
    student, recorder = fresh(), Recorder()

    def objective(batch: Batch) -> Mapping[str, Tensor]:
        seen.append((batch.epoch, batch.index))
        return {"ce": F.cross_entropy(student(batch.inputs), batch.labels)}

    loop.fit_student(student, objective, tiny.dataset(), recipe, seed=3, folder=tmp_path, report=recorder, finish=dict)
    assert [epoch for epoch, _ in seen] == [1] * 6 + [2] * 6 + [3] * 2
    assert list(recorder.seen) == [1, 2, 3]
    assert "test_accuracy" in recorder.seen[3]
    # The images of a shorter epoch are the first ones of the whole epoch, and the rate is that of its last step.
    whole = epoch_order(96, seed=training_run.TrainingRun(fresh(), tiny.dataset(), recipe, 3).order_seed, epoch=3)
    assert torch.equal(torch.cat([index for epoch, index in seen if epoch == 3]), whole[:32])
    assert recorder.seen[3]["lr"] == pytest.approx(0.05 * 0.5 * (1 + math.cos(math.pi * 13 / 14)))


@pytest.mark.parametrize("augment", ["crop-flip", "crop", "none"])
def test_windows_drawn_for_an_epoch_make_the_batches_that_are_drawn_by_themselves(augment):
    recipe, data = Recipe(epochs=4, batch_size=40, augment=augment), tiny.dataset()
    begun = training_run.TrainingRun(fresh(), data, recipe, 3)
    for epoch, place in [(1, 0), (1, 2), (3, 1), (3, 2), (1, 1), (2, 2)]:  # as continued, and back
        rows = epoch_order(96, seed=begun.order_seed, epoch=epoch)[place * 40 : place * 40 + 40]  # at last 16
        for own in (rows, rows[:0], rows.view(2, -1)[1]):  # a part of a process group's batch
            found = begun.batch(own, epoch, place)
            alone = batches.training_batch(data, recipe, own, epoch, found.part, seed=begun.view_seed)
            assert torch.equal(found.inputs, alone.inputs)
            assert torch.equal(found.index, own)


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_terms_are_summed_to_the_same_bits_however_many_there_are(count):
    generator = torch.Generator().manual_seed(count)
    for _ in range(50):
        values = torch.randn(count, generator=generator).unbind()
        assert torch.equal(
            training_run.sum_terms(dict(zip("abcdefghi", values, strict=False))), torch.stack(values).sum()
        )


def test_a_kill_between_two_checkpoints_costs_only_time(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "monotonic", Clock(0.0).monotonic)  # on a busy machine five seconds pass
    recipe = RECIPES[0]
    unbroken, _ = run(tmp_path / "unbroken", recipe)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", recipe, break_at=20)
    assert not (tmp_path / "broken" / "checkpoint.pt").exists()
    continued, _ = run(tmp_path / "broken", recipe)
    assert equal(unbroken.state_dict(), continued.state_dict())


LONG = Recipe(epochs=2, batch_size=4, lr=0.05)
"""24 steps an epoch."""


@pytest.mark.parametrize("break_at", [2, 7, 12, 24, 25, 31, 48])
@pytest.mark.parametrize(("minutes", "repeated"), [(5.0, 5), (1.0, 1), (0.1, 1), (0.0, 24)])
def test_a_kill_repeats_the_minutes_since_the_last_checkpoint(tmp_path, monkeypatch, minutes, repeated, break_at):
    clock = Clock(60.0)  # a minute for each step
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    unbroken, whole = run(tmp_path / "unbroken", LONG, minutes=minutes, clock=clock)
    assert clock.steps == 48
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", LONG, break_at=break_at, minutes=minutes, clock=clock)
    continued, rest = run(tmp_path / "broken", LONG, minutes=minutes, clock=clock)
    assert 0 <= clock.steps - 48 - 48 <= repeated  # the step that was broken off among them
    assert equal(unbroken.state_dict(), continued.state_dict())
    assert timeless(whole) == timeless(rest)


def test_the_seconds_of_an_epoch_are_those_of_all_sessions_that_were_saved(tmp_path, monkeypatch):
    clock = Clock(60.0)
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, LONG, break_at=33, minutes=5, clock=clock)  # saved after steps 5, 10, 15, 20, 24 (end), 29
    state = checkpoint.load_checkpoint(tmp_path / "checkpoint.pt", torch.device("cpu"))
    assert state is not None
    assert (len(state["history"]), checkpoint.epochs_saved(tmp_path / "checkpoint.pt")) == (1, 1)
    assert (state[training_run.PROGRESS]["step"], state[training_run.PROGRESS]["seconds"]) == (5, 300.0)
    clock.now = 5.0  # of a machine that has just started
    _, recorder = run(tmp_path, LONG, minutes=5, clock=clock)
    assert [recorder.seen[epoch]["seconds"] for epoch in (1, 2)] == [24 * 60.0, 48 * 60.0]


def test_the_clock_is_looked_at_every_so_many_steps(tmp_path, monkeypatch):
    clock, saved = Clock(0.01), []
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    found = checkpoint.Checkpoints(tmp_path / "checkpoint.pt", dict, 5)
    before = clock.looks
    for _ in range(100_000):  # a thousand seconds
        clock.step()
        if found.due_after_step():
            found.save()
            saved.append(clock.now)
    assert saved == pytest.approx([1300, 1600, 1900], abs=0.05)
    assert clock.looks - before < 1100


def test_no_checkpoint_is_written_inside_an_epoch_of_a_run_that_has_diverged(tmp_path):
    recipe = Recipe(epochs=2, batch_size=4, lr=1e20, channels_last=False)
    with pytest.raises(TrialError, match=r"in epoch 1; lower recipe\.lr or set clip_norm"):
        run(tmp_path, recipe, minutes=EVERY_STEP)
    state = checkpoint.load_checkpoint(tmp_path / "checkpoint.pt", torch.device("cpu"))
    assert state is None or all(value.isfinite().all() for value in state["student"].values())


@pytest.mark.parametrize(("pausable", "stop", "saved"), [(False, 3, 3), (True, 2, 2), (True, 0, 3)])
def test_a_run_that_is_stopped_or_may_be_paused_is_saved_as_it_stands(tmp_path, pausable, stop, saved):
    # without a stop it is killed in the first step of the fourth epoch of six steps
    with pytest.raises(StopTrial if stop else KeyboardInterrupt):
        run(tmp_path, RECIPES[0], stop=stop, break_at=19, pausable=pausable)
    assert checkpoint.epochs_saved(tmp_path / "checkpoint.pt") == saved


def test_a_finished_run_reports_again_without_training(tmp_path):
    _, first = run(tmp_path, RECIPES[0])
    _, again = run(tmp_path, RECIPES[0], break_at=1)
    assert first.seen == again.seen


def test_a_finished_run_keeps_no_memory_of_its_optimizer(tmp_path):
    recipe = Recipe(epochs=2, batch_size=16, lr=0.1)
    run(tmp_path, recipe)
    state = checkpoint.load_checkpoint(tmp_path / "checkpoint.pt", torch.device("cpu"))
    assert state is not None
    assert set(state) == {"student", checkpoint.LOSS_MODULES, "history"}
    again = fresh()
    again.load_state_dict(state["student"])
    assert (tmp_path / "checkpoint.pt").stat().st_size < 1.5 * (tmp_path / "student.pt").stat().st_size


@pytest.mark.parametrize(("accuracies", "looks"), [([0.2, 0.9, 0.5, 0.6], 2), ([0.2, 0.3, 0.5, 0.6], 1)])
def test_test_images_are_looked_at_once_for_last_and_best_weights(tmp_path, monkeypatch, accuracies, looks):
    tests: list[int] = []
    validations = iter(accuracies)

    def scripted(model, data, split, recipe):
        if split is not data.test:
            return next(validations), 0.0
        tests.append(len(tests))
        return 0.7 + len(tests) / 100, 0.0

    monkeypatch.setattr(loop, "evaluate", scripted)
    _, recorder = run(tmp_path, RECIPES[0])
    last = recorder.seen[4]
    assert len(tests) == looks  # the weights of the last epoch are looked at once if they are the best, too
    assert (last["test_accuracy"], last["test_accuracy_best"]) == (0.71, 0.71 + (looks - 1) / 100)
    assert all("test_accuracy" not in recorder.seen[epoch] for epoch in (1, 2, 3))
    assert last["extra"] == 1.0


def test_best_epoch_is_the_first_of_the_best_on_validation(tmp_path, monkeypatch):
    accuracies = iter([0.2, 0.9, 0.9, 0.5, 0.6, 0.7])  # four validations, then test of last and best
    snapshots = []

    def scripted(model, data, split, recipe):
        snapshots.append(copy.deepcopy(model.state_dict()))
        return next(accuracies), 0.0

    monkeypatch.setattr(loop, "evaluate", scripted)
    student, recorder = run(tmp_path, RECIPES[0])
    last = recorder.seen[4]
    assert (last["best_epoch"], last["val_accuracy_best"], last["val_accuracy"]) == (2, 0.9, 0.5)
    assert (last["test_accuracy"], last["test_accuracy_best"]) == (0.6, 0.7)
    assert equal(snapshots[5], snapshots[1])
    assert equal(snapshots[4], snapshots[3])
    assert equal(student.state_dict(), snapshots[3])


def test_a_loss_without_a_value_ends_the_trial_with_its_reason(tmp_path):
    with pytest.raises(TrialError, match=r"loss became (nan|inf) in epoch \d; lower recipe.lr or set clip_norm"):
        run(tmp_path, Recipe(epochs=9, batch_size=16, lr=1e20, channels_last=False))


def test_learning_learns_and_seconds_add_up(tmp_path):
    _, recorder = run(tmp_path, Recipe(epochs=12, batch_size=16, lr=0.1))
    assert recorder.seen[12]["val_accuracy"] > 0.9
    seconds = [recorder.seen[epoch]["seconds"] for epoch in range(1, 13)]
    assert seconds == sorted(seconds)


def test_a_last_batch_of_one_image_is_left_out(tmp_path):
    # 96 images in batches of 19 leave one over: five steps an epoch
    recipe = Recipe(epochs=1, batch_size=19)
    assert training_run.TrainingRun(fresh(), tiny.dataset(), recipe, 0).steps == 5
    assert training_run.TrainingRun(fresh(), tiny.dataset(), Recipe(epochs=1, batch_size=18), 0).steps == 6
    run(tmp_path, recipe)


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt cannot be read; delete it to train that trial anew"):
        run(tmp_path, RECIPES[0])


def test_evaluation_counts_by_hand_and_puts_the_mode_back():
    data = tiny.dataset()

    class Always(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            assert not self.training
            return torch.tensor([[0.0, 100.0, 0.0]]).expand(len(images), 3)

    model = Always().train()
    accuracy, loss = evaluate(model, data, data.validation, Recipe(), batch=7)
    # a third of the labels are 1; the others cost 100 each
    assert accuracy == pytest.approx(1 / 3)
    assert loss == pytest.approx(200 / 3)
    assert model.training
