"""Training a student from its first epoch, or from a checkpoint, to its last: what all methods share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from torch import nn

from automl_kd import distributed
from automl_kd.data import Dataset
from automl_kd.errors import StopTrial, TrialError
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.spec import Recipe, Report
from automl_kd.training import checkpoint
from automl_kd.training.checkpoint import Checkpoints
from automl_kd.training.divergence import refuse_metrics
from automl_kd.training.evaluate import evaluate
from automl_kd.training.training_run import OwnStep, TrainingObjective, TrainingRun

SAVE_SECONDS = 5.0
"""The least time between checkpoints after two epochs of one trial that is not paused."""


def fit_student(
    student: nn.Module,
    objective: TrainingObjective | OwnStep,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    folder: Path,
    report: Report,
    finish: Callable[[], Mapping[str, float]],
    loss_modules: nn.Module | None = None,
    cache_stats: Callable[[], Mapping[str, float]] = dict,
    pausable: bool = False,
    checkpoint_minutes: float = 0.0,
    cuda_graphs: bool = False,
) -> None:
    """Train `student` in place for `recipe.epochs`, reporting after each; continue if `folder` holds a checkpoint.

    Each epoch reports train_loss, val_accuracy, val_loss, lr and seconds (training and validation, over all sessions).
    The last one adds val_accuracy_best, best_epoch, test_accuracy (weights of the last epoch), test_accuracy_best
    (weights of the epoch best on validation, the earlier of equals) and what `finish` returns: the test images are
    looked at once, when nothing is left to choose. A continued trial first reports again what it had reported before.
    The last weights are left in `folder/student.pt`, the best ones in `folder/student_best.pt`. `loss_modules`, layers
    and memories of the objective, are trained by the same optimizer and continue as exactly, and are in neither file.
    `cache_stats`: counts of the teacher cache, which are added to each epoch's report.
    A checkpoint is written after an epoch if the last one is some seconds old, if the trial is `pausable`, if `report`
    stops the trial there, and after the last epoch; inside an epoch before it is `checkpoint_minutes` old (0: none). A
    continued trial goes on at the step of the last one. `cuda_graphs`: see `TrainingRun`.

    In a process group all call it, the main process writes, and all report the same metrics, of which the seconds are
    each one's own.
    """
    run = TrainingRun(student, dataset, recipe, seed, loss_modules, cache_stats, cuda_graphs)
    checkpoints = Checkpoints(folder / checkpoint.TRAINING_FILE, run.state, checkpoint_minutes)
    restore_run(run, checkpoints.path)
    for epoch, metrics in enumerate(run.history, start=1):
        report(metrics, epoch=epoch)
    for epoch in range(len(run.history) + 1, recipe.epochs + 1):
        metrics = one_epoch(run, objective, epoch, checkpoints)
        if epoch == recipe.epochs:
            metrics |= {**last_words(run, folder), **finish()}
        due = pausable or epoch == recipe.epochs or checkpoints.seconds_unsaved() > SAVE_SECONDS
        if due:
            checkpoints.save()
        try:
            report(metrics, epoch=epoch)
        except StopTrial:
            if not due:
                checkpoints.save()
            raise


def restore_run(run: TrainingRun, path: Path) -> None:
    """Put `run` where the checkpoint at `path` left it, if there is one."""
    if (state := checkpoint.load_checkpoint(path, run.device)) is not None:
        run.restore(state)
    step = run.progress.step if run.progress else 0
    if not (distributed.all_equal(len(run.history)) and distributed.all_equal(step)):
        raise TrialError(f"the workers read different states of {path.parent}; give a folder that all machines share")


def one_epoch(
    run: TrainingRun, objective: TrainingObjective | OwnStep, epoch: int, checkpoints: Checkpoints
) -> dict[str, float]:
    """Train and validate once; append to the run's history and return what was measured.

    `DivergedError` if what was trained, or a number that was measured, is not finite.
    """
    loss = run.train_epoch(objective, epoch, checkpoints)
    # Of parts that were normalised each by itself, every process knows its own running statistics.
    distributed.average([*run.student.buffers(), *run.loss_modules.buffers()])
    run.sound.refuse(epoch)
    with run.averaged():
        accuracy, val_loss = evaluate(run.student, run.dataset, run.dataset.validation, run.recipe)
        refuse_metrics({"train_loss": loss, "val_loss": val_loss}, epoch)
        if all(accuracy > earlier["val_accuracy"] for earlier in run.history):
            run.best = deepcopy(run.student.state_dict())
    rate = run.optimizer.param_groups[0]["lr"]
    return run.end_epoch({"train_loss": loss, "val_accuracy": accuracy, "val_loss": val_loss, "lr": rate})


def last_words(run: TrainingRun, folder: Path) -> dict[str, float]:
    """Test accuracies of the last and of the best weights, which are both saved; with `recipe.ema`, of averages."""
    measured: dict[str, Any] = {}
    accuracies = [metrics["val_accuracy"] for metrics in run.history]
    measured["val_accuracy_best"] = max(accuracies)
    measured["best_epoch"] = accuracies.index(max(accuracies)) + 1
    with run.averaged():
        last = deepcopy(run.student.state_dict())
        measured["test_accuracy"], _ = evaluate(run.student, run.dataset, run.dataset.test, run.recipe)
        if distributed.is_main_process():
            save_weights(run.student, folder / "student.pt")
        run.student.load_state_dict(run.best)
        measured["test_accuracy_best"] = measured["test_accuracy"]
        if measured["best_epoch"] < len(run.history):
            measured["test_accuracy_best"], _ = evaluate(run.student, run.dataset, run.dataset.test, run.recipe)
        if distributed.is_main_process():
            save_weights(run.student, folder / "student_best.pt")
        run.student.load_state_dict(last)
    return measured
