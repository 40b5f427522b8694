"""The progress of a stage of trials in words, for the live screen and the live page."""

from __future__ import annotations

from automl_kd.experiment.progress.stage_progress import StageProgress
from automl_kd.results import units


def stage_facts(progress: StageProgress, elapsed: float) -> tuple[tuple[str, str], ...]:
    """Return all sentences by name. `elapsed`: seconds of the stage."""
    phrases = {
        "trials": standing(progress),
        "best": best(progress),
        "baseline": baseline(progress),
        "time": time_left(progress, elapsed),
        "cost": stage_costs(progress),
    }
    return tuple((name, text) for name, text in phrases.items() if text)


def standing(progress: StageProgress) -> str:
    """Return counts such as "2 running, 5 complete, 1 stopped, 4 to come; 2 of 2 workers busy"; zeros are left out."""
    counts = {status: len(progress.having(status)) for status in ("running", "complete", "stopped", "failed")}
    counts["to come"] = max(0, progress.plan.trials - len(progress.trials))
    sentence = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{sentence}; {progress.busy} of {units.some(progress.plan.workers, 'worker')} busy"


def best(progress: StageProgress) -> str:
    """Return the best validation accuracy of a complete or running trial, and its distance to the baseline."""
    one, baseline = progress.best, progress.baseline
    if one is None or one.val_accuracy is None:
        return "none yet"
    unfinished = "" if one.status == "complete" else f", epoch {one.epoch} of {one.epochs}"
    sentence = f"{units.percent(one.val_accuracy)} % on validation ({one.label}{unfinished})"
    return (
        sentence
        if baseline is None
        else f"{sentence}, {units.points(one.val_accuracy - baseline)} points from the baseline"
    )


def baseline(progress: StageProgress) -> str:
    """Return the accuracies of baseline and teacher, as far as measured; empty without a comparison."""
    plan = progress.plan
    if not plan.baseline:
        return ""
    trained = "not trained yet" if progress.baseline is None else f"{units.percent(progress.baseline)} %"
    teacher = plan.known.get("teacher")
    return f"{plan.baseline}: {trained}" + ("" if teacher is None else f"; teacher: {units.percent(teacher)} %")


def time_left(progress: StageProgress, elapsed: float) -> str:
    left = progress.left()
    sentence = f"{units.duration(elapsed)} so far"
    if left is None:
        return f"{sentence}; the time left is estimated after the first epochs"
    sentence = f"{sentence}, about {units.duration(left.seconds)} left"
    if left.ahead_seconds:
        sentence = f"{sentence}, then about {units.duration(left.ahead_seconds)} for later stages"
    return sentence


def stage_costs(progress: StageProgress) -> str:
    left = progress.left()
    spent = (
        f"{units.format_count(progress.train_macs)} multiply-adds, {units.duration(progress.train_seconds)} of training"
    )
    if left is None:
        return spent
    return f"{spent}; about {units.format_count(left.train_macs)} and {units.duration(left.train_seconds)} left"
