"""The baseline comparison: what the search gained over the default student trained by plain KD.

Arms are trained with the same seeds: the default student and the found student, each from scratch and by distillation;
where it begins with weights, also the found one by labels alone from the same, and from fresh ones. The first reading
that was trained, the same compute unless others were asked for, decides; all stand side by side. Differences are paired
by seed, with a 95 % interval over seeds. The interval does not cover the choice of test examples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from automl_kd.errors import ResultError
from automl_kd.results import units
from automl_kd.results.statistics.interval import Estimate, estimate_mean
from automl_kd.results.verdict.arms import (
    ANSWERS,
    ARMS,
    COMPARISONS,
    GAIN_QUESTIONS,
    WARM_START,
    Arm,
    StageCost,
    arm,
    describe_teaching,
    have_same_teaching,
    paired,
    part_titles,
    stage_cost,
)
from automl_kd.results.verdict.distillation import (
    BASES,
    UNEQUAL,
    distillation_arms,
    distillation_costs,
    is_distillation,
    judge_distillation,
    judged_role,
    training_title,
)
from automl_kd.results.verdict.readings import (
    WHERE,
    Compared,
    ReadingTable,
    accuracies_by_length,
    disagreement_sentence,
    doubling_sentence,
    readings_in,
    rows_in,
)
from automl_kd.results.verdict.teacher import accuracy_of, teacher_of, warning
from automl_kd.spec import BASELINE_ROLES, FINAL_ROLES, OF_WARM_STARTS, FinalRole, ReadingName

COSTED_STAGES = ("teacher", "search", "choice", "final")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`gains` has the keys of `COMPARISONS`; an estimate with n = 0 could not be made.

    `sentence` begins with a warning if the teacher is too weak; otherwise `teacher_sentence` gives its accuracy, if
    known. `parts_sentence`: what the teaching and the architecture gained by themselves, of a search. `distilled`: the
    verdict is on one student that was taught without a search. `reading`: the one that `arms`, `gains` and sentences
    are of. `readings`: each baseline in each. `readings_sentence`: where they disagree, what longer training gains, and
    what was not asked. `finished`: what was asked for can be judged.
    """

    arms: dict[FinalRole, Arm]
    gains: dict[str, Estimate]
    costs: tuple[StageCost, ...]
    sentence: str
    cost_sentence: str
    teacher_sentence: str = ""
    parts_sentence: str = ""
    distilled: bool = False
    reading: ReadingName = "compute"
    readings: ReadingTable = field(default_factory=dict)
    readings_sentence: str = ""
    finished: bool = False


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
    all_finals = rows[rows["trial_kind"] == "final"]
    known = {one: arms_in(all_finals, one, metric) for one in readings_in(all_finals)}
    reading, arms = next(iter(known.items()))
    final, baselines = rows_in(all_finals, reading), asked_baselines(record)
    # Where nothing begins with weights, or none of it is trained yet, nobody waits for what is compared with them.
    asked = tuple(one for one in baselines if one not in OF_WARM_STARTS or one in set(all_finals["role"]))
    gains = {name: paired(arms, better, base) for name, (better, base) in COMPARISONS.items()}
    distilled = is_distillation(rows, record)
    costs = tuple(stage_cost(rows, trial_kind, arms.get("default-kd")) for trial_kind in COSTED_STAGES)
    teacher = teacher_of(rows)
    warned = warning(teacher, untaught(arms))
    if distilled:
        judged = judge_distillation(final, arms, asked, WHERE[reading])
        readings = distilled_readings(known)
    else:
        judged = verdict_sentence(final, arms, gains, asked, WHERE[reading])
        readings = {f"the {ARMS[role]}": one for role, one in compare_readings(known, "found-method").items()}
    titles = BASES if distilled else {role: f"the {title}," for role, title in ARMS.items()}
    lengths = lengths_of(all_finals, distillation_arms(arms) if distilled else arms, metric)
    longer = (doubling_sentence(titles[role], one) for role, one in lengths.items() if role in titles)
    sentences = [disagreement_sentence(readings), *longer, "" if distilled else unanswered(baselines, arms)]
    return Verdict(
        arms=arms,
        gains=gains,
        costs=tuple(one for one in costs if one.trials),
        sentence=f"{warned} {judged}" if warned else judged,
        cost_sentence=distillation_costs(costs, arms, reading)
        if distilled
        else cost_sentence(costs, arms, scores, reading),
        teacher_sentence="" if warned else accuracy_of(teacher),
        parts_sentence="" if distilled else parts_sentence(gains, arms),
        distilled=distilled,
        reading=reading,
        readings=readings,
        readings_sentence=" ".join(filter(None, sentences)),
        finished=gains["search"].n > 0 if "default-kd" in asked else "found-method" in arms,
    )


def arms_in(final: pd.DataFrame, reading: ReadingName, metric: str) -> dict[FinalRole, Arm]:
    ours = rows_in(final, reading)
    found = {role: arm(ours[ours["role"] == role], role, metric) for role in FINAL_ROLES}
    return {role: one for role, one in found.items() if one is not None}


def compare_readings(
    known: Mapping[ReadingName, dict[FinalRole, Arm]], judged: FinalRole
) -> dict[FinalRole, dict[ReadingName, Compared]]:
    """What `judged` gained over each other role in each reading."""
    return {
        role: {
            reading: Compared(gain=paired(arms, judged, role), epochs=arms[role].length)
            for reading, arms in known.items()
            if role in arms and judged in arms
        }
        for role in FINAL_ROLES
        if role != judged and any(role in arms for arms in known.values())
    }


def distilled_readings(known: Mapping[ReadingName, dict[FinalRole, Arm]]) -> dict[str, dict[ReadingName, Compared]]:
    """Of one student that was taught: the judged training over each other, and each other taught one over scratch."""
    arms = {reading: distillation_arms(one) for reading, one in known.items()}
    first = next(iter(arms.values()))
    judged = judged_role(first)
    found = {BASES[role]: one for role, one in compare_readings(arms, judged).items()}
    for role, one in first.items():
        compared = compare_readings(arms, role).get("default-scratch")
        if role not in {judged, "default-scratch"} and compared:
            found[f"{BASES['default-scratch']}, by {training_title(role, one)}"] = compared
    return found


def lengths_of(
    final: pd.DataFrame, arms: Mapping[FinalRole, Arm], metric: str
) -> dict[FinalRole, dict[float, dict[int, float]]]:
    """Accuracies by epochs and by seed, of each training of `arms` at all its lengths."""
    found = {}
    for role, one in arms.items():
        ours = final[(final["role"] == role) & (final["architecture_id"] == one.architecture_id)]
        found[role] = accuracies_by_length(ours[ours["options_json"] == one.options_json], metric)
    return found


def asked_baselines(record: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Those that the experiment names; all where it is not known or of an earlier version."""
    section = (record or {}).get("finalists") or {}
    return tuple(section.get("baselines", BASELINE_ROLES))


def unanswered(asked: Sequence[str], arms: Mapping[FinalRole, Arm]) -> str:
    """The questions of a search that the baselines leave open, in a sentence; empty where all are answered."""
    found = arms.get("found-method")
    trained = {*asked, "found-method", *([] if found is not None and found.init else OF_WARM_STARTS)}
    left_open = [GAIN_QUESTIONS[name] for name, roles in COMPARISONS.items() if not trained.issuperset(roles)]
    if not left_open:
        return ""
    missing = [f"the {ARMS[role]}" for role in BASELINE_ROLES if role not in trained]
    return f"Not answered, as finalists.baselines leaves out {'; '.join(missing)}: {'; '.join(left_open)}."


def untaught(arms: dict[FinalRole, Arm]) -> float | None:
    """Mean validation accuracy of a student from scratch, the default one if it is there."""
    one = arms.get("default-scratch") or arms.get("found-scratch")
    return one.val.mean if one is not None and one.val.n else None


def verdict_sentence(
    final: pd.DataFrame,
    arms: dict[FinalRole, Arm],
    gains: dict[str, Estimate],
    asked: Sequence[str] = BASELINE_ROLES,
    where: str = "at equal compute",
) -> str:
    """Return one sentence on a search: gained, not gained, worse, or why there is no verdict.

    `asked`: the baselines that are trained. `where`: what is equal.
    """
    gain = gains["search"]
    found, base = arms.get("found-method"), arms.get("default-kd")
    if found is not None and "default-kd" not in asked:
        reached = f"the found student {describe_arm(found)} trained by {describe_teaching(found)} reaches"
        head = (
            "No verdict on the search, as finalists.baselines leaves out the default student by plain KD"
            if asked
            else "No comparison was made, as finalists.baselines names no training to compare with"
        )
        return f"{head}: {reached} {units.percent(found.test.mean)} % on test."
    if found is None or base is None:
        return missing_sentence(final, "default-kd" if found is not None else "found-method")
    if gain.n == 0:
        return "No verdict: no seed was completed by both the found student with its method and plain KD."
    if have_same_teaching(found, base):
        return f"Nothing was gained: the search chose the default student ({found.student}) and trains it by plain KD."
    close = ""
    if found.architecture_id == base.architecture_id:
        close = "; the found student is the default student itself, so its architecture gained nothing"
    return f"{judge_gain(gain)} {where}: {comparison(found, base)}{close}."


def parts_sentence(gains: Mapping[str, Estimate], arms: Mapping[FinalRole, Arm]) -> str:
    """What the teaching and the architecture gained, each beside the same without it; empty where that is not known."""
    parts = {
        "teaching": "the found student from scratch",
        "architecture": "the default student, both from scratch",
        ANSWERS: "labels alone from the same weights",
        WARM_START: "the same from fresh weights",
    }
    known = {name: base for name, base in parts.items() if gains[name].n > 1}
    titles = part_titles(arms)
    return " ".join(f"The {titles[name]}, against {base}: {judge_part(gains[name])}." for name, base in known.items())


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
        f" the default student {describe_arm(base)} with plain KD{units.beginning(base.init)} {theirs}"
    )


def describe_arm(one: Arm) -> str:
    return f"({one.student}, {units.format_count(one.params)} parameters)" if one.params else f"({one.student})"


def cost_sentence(
    costs: tuple[StageCost, ...],
    arms: dict[FinalRole, Arm],
    scores: pd.DataFrame | None,
    reading: ReadingName = "compute",
) -> str:
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
    if ratio is not None and ratio > UNEQUAL:
        text += (
            f" The compute was not equal: one training of the found student took {units.times(ratio)} times the"
            " multiply-adds of one of the default student."
        )
    if ratio is not None and ratio * UNEQUAL < 1:
        rounded = reading == "compute" and arms["default-kd"].last_epoch == 1
        whole = "Epochs are whole, so the default" if rounded else "The default"
        text += (
            f" {whole} student had more compute: {units.times(1 / ratio)} times the multiply-adds of the found one in"
            " each training."
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
