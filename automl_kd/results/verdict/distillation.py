"""The verdict on a distillation: one student taught by one method, beside plain KD and training from scratch.

Rows of a distillation name their finals by the roles of a search. With one student, the default and the found one are
the same: both roles from scratch stand for the same trials, and so do both roles by KD if KD is the method.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from automl_kd.results import units
from automl_kd.results.statistics.interval import Estimate, estimate_mean
from automl_kd.results.verdict.arms import Arm, StageCost, describe_teaching, have_same_teaching, paired
from automl_kd.spec import BASELINE_ROLES, FOUND_FRESH, FOUND_LABELS, FinalRole, ReadingName

BESIDE_SCRATCH, BESIDE_KD = "training from scratch", "plain KD"
BESIDE_LABELS, BESIDE_FRESH = "labels alone from the same weights", "the same from fresh weights"
BASES: Mapping[FinalRole, str] = {
    "default-kd": BESIDE_KD,
    "default-scratch": BESIDE_SCRATCH,
    FOUND_LABELS: BESIDE_LABELS,
    FOUND_FRESH: BESIDE_FRESH,
}
UNEQUAL = 1.05
"""A ratio of compute that a reader should know of."""


def is_distillation(rows: pd.DataFrame, record: Mapping[str, Any] | None = None) -> bool:
    """Whether one student was trained without a search. `record`: the experiment; without it finals alone can tell."""
    if (rows["trial_kind"] == "search").any():
        return False
    if record and "space" in record:
        perturbed = (record.get("search") or {}).get("perturb")
        return str(record["space"]).startswith("model:") and not (record.get("hyperparameters") or perturbed)
    final = rows[rows["trial_kind"] == "final"]
    return not final.empty and bool(final["space"].astype(str).str.startswith("model:").all())


def distillation_arms(arms: Mapping[FinalRole, Arm]) -> dict[FinalRole, Arm]:
    """The different trainings: from scratch, by plain KD, and by the method unless it is one of these.

    Where students begin with weights, also labels alone from these, and the method's from fresh ones.
    """
    scratch = arms.get("default-scratch") or arms.get("found-scratch")
    method, kd = arms.get("found-method"), arms.get("default-kd")
    found: dict[FinalRole, Arm | None] = {
        "default-scratch": scratch,
        "default-kd": kd,
        FOUND_LABELS: arms.get(FOUND_LABELS),
        FOUND_FRESH: arms.get(FOUND_FRESH),
        "found-method": method,
    }
    if method is not None and method.method == "scratch":
        found |= {"default-scratch": method, "found-method": None}
    elif method is not None and method.method == "kd" and (kd is None or have_same_teaching(method, kd)):
        found |= {"default-kd": method, "found-method": None}
    return {role: one for role, one in found.items() if one is not None}


def judged_role(arms: Mapping[FinalRole, Arm]) -> FinalRole:
    """The training that is judged, of `distillation_arms`: by the method, which may be plain KD."""
    return "found-method" if "found-method" in arms else "default-kd"


def training_title(role: FinalRole, one: Arm) -> str:
    """What a line of the table is called, such as "plain KD (temperature=4)"."""
    if role == "default-scratch":
        return "from scratch"
    if role == FOUND_LABELS:
        return BESIDE_LABELS
    return describe_teaching(one).replace("kd", BESIDE_KD, 1) if one.method == "kd" else describe_teaching(one)


def judge_distillation(
    final: pd.DataFrame,
    found: Mapping[FinalRole, Arm],
    asked: Collection[str] = BASELINE_ROLES,
    where: str = "at equal compute",
) -> str:
    """Whether teaching by the method beat plain KD and training from scratch, in one sentence.

    `asked`: the baselines that are trained. `where`: what is equal.
    """
    arms = distillation_arms(found)
    distilled = arms.get(judged_role(arms))
    wanted = {"default-scratch"} if {"default-scratch", "found-scratch"} & {*asked} else set()
    wanted |= {"default-kd"} & {*asked}
    if distilled is None or not wanted - {"default-kd" if distilled.method == "kd" else ""} <= arms.keys():
        return missing_training(final, arms)
    bases = {name: arms.get(role) for role, name in BASES.items()}
    by = training_title(judged_role(arms), distilled)
    clauses, gained, lost, untold = [], [], [], False
    for name, base in bases.items():
        if base is None or base is distilled:
            continue
        gain = difference(distilled, base)
        if gain.n == 0:
            return f"No verdict: no seed was completed both by {by} and by {name}."
        clauses.append(compare_trainings(distilled, base, gain, name))
        gained += [name] if is_clear(gain) and gain.mean > 0 else []
        lost += [name] if is_clear(gain) and gain.mean < 0 else []
        untold |= gain.n == 1
    if not clauses:
        reached = f"{units.percent(distilled.test.mean)} % on test"
        return f"No comparison was made: {distilled.student} taught by {by} reaches {reached}."
    head = headline(gained, lost, len(clauses), untold=untold)
    size = f" ({units.format_count(distilled.params)} parameters)" if distilled.params else ""
    return f"{head}: {distilled.student}{size} taught by {by} {where} {' and '.join(clauses)}."


def headline(gained: list[str], lost: list[str], compared: int, *, untold: bool) -> str:
    if compared in (len(gained), len(lost)):
        return "Gained" if gained else "Worse"
    if lost:
        return f"Worse than {' and '.join(lost)}"
    if gained:
        return f"Gained over {' and '.join(gained)}" + " alone" * (len(gained) == 1)
    return "One seed cannot separate a gain from chance" if untold else "No gain is shown"


def difference(distilled: Arm, base: Arm) -> Estimate:
    """Test accuracy of one training minus that of another, paired by seed."""
    return paired({distilled.role: distilled, base.role: base}, distilled.role, base.role)


def is_clear(gain: Estimate) -> bool:
    """Whether the interval leaves out zero."""
    return gain.n > 1 and gain.mean != 0 and abs(gain.mean) > gain.half_width


def compare_trainings(distilled: Arm, base: Arm, gain: Estimate, name: str) -> str:
    """Such as "is 2.00 points better than plain KD (93.00 % on test against 91.00 %, 95 % interval ..., 3 seeds)"."""
    seeds = distilled.accuracy.keys() & base.accuracy.keys()
    ours, theirs = (
        units.percent(estimate_mean(one.accuracy[seed] for seed in seeds).mean) for one in (distilled, base)
    )
    reached = f"{ours} % on test against {theirs} %"
    if gain.n == 1:
        return f"differs from {name} by {units.points(gain.mean)} points ({reached}, 1 seed)"
    interval = f"95 % interval {units.points(gain.low)} to {units.points(gain.high)}, {gain.n} seeds"
    if not is_clear(gain):
        return f"shows no gain over {name} (difference {units.points(gain.mean)} points, {reached}, {interval})"
    word = "better" if gain.mean > 0 else "worse"
    return f"is {units.points(abs(gain.mean)).removeprefix('+')} points {word} than {name} ({reached}, {interval})"


def missing_training(final: pd.DataFrame, arms: Mapping[FinalRole, Arm]) -> str:
    """Why there is no verdict when a training has no complete trial."""
    if final.empty:
        return "No verdict yet: the student is not trained."
    titles = {"default-scratch": "from scratch", "default-kd": "by plain KD", "found-method": "by the method"}
    wanted = ("default-scratch", "default-kd") if "found-method" in arms else ("default-scratch", "found-method")
    role = next((role for role in wanted if role not in arms), "default-kd")
    ours = final[final["role"] == role]
    if ours.empty:
        return f"No verdict yet: no training {titles[role]} is done."
    return f"No verdict: none of {units.some(len(ours), 'training')} {titles[role]} is complete."


def distillation_costs(
    costs: tuple[StageCost, ...], found: Mapping[FinalRole, Arm], reading: ReadingName = "compute"
) -> str:
    """What the teacher took, and whether the comparison was made at equal compute."""
    teacher = next((one for one in costs if one.stage == "teacher" and one.trials), None)
    text = "No teacher was trained here."
    if teacher is not None:
        text = (
            f"The teacher took {units.duration(teacher.seconds)} and {units.format_count(teacher.train_macs)}"
            " multiply-adds"
        )
        share = "" if math.isnan(teacher.trainings) else f", as much as {units.times(teacher.trainings)} trainings"
        text += f"{share} of the student by plain KD." if share else "."
    arms = distillation_arms(found)
    return " ".join([text, *unequal_compute(arms, reading)])


def unequal_compute(arms: Mapping[FinalRole, Arm], reading: ReadingName = "compute") -> list[str]:
    """A sentence for each baseline that did not have the compute of the training that is judged."""
    role = judged_role(arms)
    found = []
    for name, base in ((BESIDE_KD, arms.get("default-kd")), (BESIDE_SCRATCH, arms.get("default-scratch"))):
        if role not in arms or base is None or base is arms[role] or not base.train_macs > 0:
            continue
        ratio, by = arms[role].train_macs / base.train_macs, training_title(role, arms[role])
        if ratio > UNEQUAL:
            found.append(f"The compute was not equal: {by} took {units.times(ratio)} times that of {name}.")
        elif ratio * UNEQUAL < 1:
            whole = "Epochs are whole, so " if reading == "compute" and base.last_epoch == 1 else ""
            more = f"{name} had more compute: {units.times(1 / ratio)} times that of {by}."
            found.append(whole + more if whole else more[:1].upper() + more[1:])
    return found


def name_trainings(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a distillation for a ranking beside others: what finals stand for in the words of a distillation."""
    names = {
        "default-kd": BESIDE_KD,
        "found-method": "method",
        FOUND_LABELS: "labels alone",
        FOUND_FRESH: "method, fresh",
    } | dict.fromkeys(("default-scratch", "found-scratch"), "from scratch")
    final = rows["trial_kind"] == "final"
    role = rows["role"].astype(str)
    return rows.assign(role=role.where(~final, role.map(lambda one: names.get(one, one))))
