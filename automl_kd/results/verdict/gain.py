"""The baseline comparison: what the search gained over the default student trained by plain KD.

Four arms are trained with the same seeds and the same compute: the default student and the found student, each from
scratch and by distillation. Differences are paired by seed, with a 95 % interval over seeds. The interval does not
cover the choice of test images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from automl_kd.errors import ResultError
from automl_kd.results import units
from automl_kd.results.statistics.interval import Estimate, estimate_mean
from automl_kd.results.store.row import FINAL_ROLES, FinalRole
from automl_kd.results.verdict.arms import (
    ARMS,
    COMPARISONS,
    Arm,
    StageCost,
    arm,
    describe_teaching,
    have_same_teaching,
    paired,
    stage_cost,
)
from automl_kd.results.verdict.distillation import distillation_costs, is_distillation, judge_distillation
from automl_kd.results.verdict.teacher import accuracy_of, teacher_of, warning

COSTED_STAGES = ("teacher", "search", "choice", "final")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`gains` has the keys of `COMPARISONS`; an estimate with n = 0 could not be made.

    `sentence` begins with a warning if the teacher is too weak; otherwise `teacher_sentence` gives its accuracy, if
    known. `parts_sentence`: what the teaching and the architecture gained by themselves, of a search. `distilled`: the
    verdict is on one student that was taught without a search.
    """

    arms: dict[FinalRole, Arm]
    gains: dict[str, Estimate]
    costs: tuple[StageCost, ...]
    sentence: str
    cost_sentence: str
    teacher_sentence: str = ""
    parts_sentence: str = ""
    distilled: bool = False


def judge_search(
    rows: pd.DataFrame,
    metric: str = "test_accuracy",
    scores: pd.DataFrame | None = None,
    record: Mapping[str, Any] | None = None,
) -> Verdict:
    """Judge one experiment by its rows of the trial kind "final"; the other rows, and `scores`, give its cost.

    `metric` is `test_accuracy`, of the last epoch, or `test_accuracy_best`, of the epoch best on validation.
    `record`: the experiment, which tells a distillation from a search before there are finals.
    """
    if rows["experiment"].nunique() > 1:
        raise ResultError(f"a verdict is on one experiment, got rows of {rows['experiment'].nunique()}; choose one")
    final = rows[rows["trial_kind"] == "final"]
    found = {role: arm(final[final["role"] == role], role, metric) for role in FINAL_ROLES}
    arms = {role: one for role, one in found.items() if one is not None}
    gains = {name: paired(arms, better, base) for name, (better, base) in COMPARISONS.items()}
    distilled = is_distillation(rows, record)
    costs = tuple(stage_cost(rows, trial_kind, arms.get("default-kd")) for trial_kind in COSTED_STAGES)
    teacher = teacher_of(rows)
    warned = warning(teacher, untaught(arms))
    judged = judge_distillation(final, arms) if distilled else verdict_sentence(final, arms, gains)
    return Verdict(
        arms=arms,
        gains=gains,
        costs=tuple(one for one in costs if one.trials),
        sentence=f"{warned} {judged}" if warned else judged,
        cost_sentence=distillation_costs(costs, arms) if distilled else cost_sentence(costs, arms, scores),
        teacher_sentence="" if warned else accuracy_of(teacher),
        parts_sentence="" if distilled else parts_sentence(gains),
        distilled=distilled,
    )


def untaught(arms: dict[FinalRole, Arm]) -> float | None:
    """Mean validation accuracy of a student from scratch, the default one if it is there."""
    one = arms.get("default-scratch") or arms.get("found-scratch")
    return one.val.mean if one is not None and one.val.n else None


def verdict_sentence(final: pd.DataFrame, arms: dict[FinalRole, Arm], gains: dict[str, Estimate]) -> str:
    """Return one sentence on a search: gained, not gained, worse, or why there is no verdict yet."""
    gain = gains["search"]
    found, base = arms.get("found-method"), arms.get("default-kd")
    if found is None or base is None:
        return missing_sentence(final, "default-kd" if found is not None else "found-method")
    if gain.n == 0:
        return "No verdict: no seed was completed by both the found student with its method and plain KD."
    if have_same_teaching(found, base):
        return f"Nothing was gained: the search chose the default student ({found.student}) and trains it by plain KD."
    close = ""
    if found.architecture_id == base.architecture_id:
        close = "; the found student is the default student itself, so its architecture gained nothing"
    return f"{judge_gain(gain)}: {comparison(found, base)}{close}."


def parts_sentence(gains: Mapping[str, Estimate]) -> str:
    """What the teaching and the architecture gained, each beside the same without it; empty where that is not known."""
    parts = {"teaching": "the found student from scratch", "architecture": "the default student, both from scratch"}
    known = {name: base for name, base in parts.items() if gains[name].n > 1}
    return " ".join(f"The {name}, against {base}: {judge_part(gains[name])}." for name, base in known.items())


def judge_part(gain: Estimate) -> str:
    judged = judge_gain(gain)
    return judged[0].lower() + judged[1:]


def missing_sentence(final: pd.DataFrame, role: FinalRole) -> str:
    """Why there is no verdict when no trial of `role` is complete."""
    ours = final[final["role"] == role]
    if ours.empty:
        return f"No verdict yet: the final trials are not done (none of: {ARMS[role]})."
    return f"No verdict: none of the {units.some(len(ours), 'final trial')} of this kind is complete: {ARMS[role]}."


def judge_gain(gain: Estimate) -> str:
    """The difference in percentage points and what may be concluded from it."""
    difference = units.points(gain.mean)
    if gain.n == 1:
        return f"One seed cannot separate a gain from chance; here the difference is {difference} points"
    interval = f"95 % interval {units.points(gain.low)} to {units.points(gain.high)}, {gain.n} seeds"
    if abs(gain.mean) <= gain.half_width or gain.mean == 0:
        return f"No gain is shown, as the interval includes zero (difference {difference} points, {interval})"
    word = "Gained" if gain.mean > 0 else "Worse by"
    return f"{word} {units.points(abs(gain.mean)).removeprefix('+')} points ({interval})"


def comparison(found: Arm, base: Arm) -> str:
    """Both students with their means over the seeds that both completed."""
    seeds = found.accuracy.keys() & base.accuracy.keys()
    ours, theirs = (
        f"{units.percent(estimate_mean(one.accuracy[seed] for seed in seeds).mean)} %" for one in (found, base)
    )
    return (
        f"the found student {describe_arm(found)} trained by {describe_teaching(found)} reaches {ours} on test,"
        f" the default student {describe_arm(base)} with plain KD {theirs}"
    )


def describe_arm(one: Arm) -> str:
    return f"({one.student}, {units.format_count(one.params)} parameters)" if one.params else f"({one.student})"


def cost_sentence(costs: tuple[StageCost, ...], arms: dict[FinalRole, Arm], scores: pd.DataFrame | None) -> str:
    """What the search and the teacher cost, and whether the comparison was made at equal compute."""
    teacher, search, choice, _ = costs
    parts = [f"The search took {describe_cost(search)}" if search.trials else "No search trial is recorded"]
    if scores is not None and len(scores):
        screened = units.some(int(scores["architecture_id"].nunique()), "architecture")
        parts.append(f"filtering {screened} by proxies {units.duration(float(scores['seconds'].sum()))}")
    if choice.trials:
        parts.append(f"the choice among its best {describe_cost(choice)}")
    parts.append(f"the teacher {describe_cost(teacher)}" if teacher.trials else "no teacher was trained here")
    text = "; ".join(parts) + "."
    ratio = compute_ratio(arms)
    if ratio is not None and ratio > 1.05:
        text += (
            f" The compute was not equal: one training of the found student took {units.times(ratio)} times the"
            " multiply-adds of one of the default student."
        )
    if ratio is not None and ratio < 0.95:
        text += (
            f" Epochs are whole, so the default student had more compute: {units.times(1 / ratio)} times the"
            " multiply-adds of the found one in each training."
        )
    return text


def describe_cost(cost: StageCost) -> str:
    """Time and multiply-adds of a stage, the latter also in trainings of the default student."""
    text = f"{units.duration(cost.seconds)} and {units.format_count(cost.train_macs)} multiply-adds"
    if math.isnan(cost.trainings):
        return text
    return f"{text}, as much as {units.times(cost.trainings)} final trainings of the default student"


def compute_ratio(arms: dict[FinalRole, Arm]) -> float | None:
    """Multiply-adds of a training of the found student over those of the default student, both by distillation."""
    found, base = arms.get("found-method"), arms.get("default-kd")
    if found is None or base is None or not base.train_macs > 0 or math.isnan(found.train_macs):
        return None
    return found.train_macs / base.train_macs
