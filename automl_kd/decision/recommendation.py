"""What to ship, in words: the found student only where it is better, or as good and smaller, than what is simpler.

Differences in test accuracy are paired by seed, with 95 % intervals; intervals are not adjusted for the number of
candidates. Between candidates that are better than the found one, validation chooses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from automl_kd.decision.candidates import CandidateKind, JudgedExperiment, StudentCandidate
from automl_kd.results import units
from automl_kd.results.comparison.comparison import Comparison
from automl_kd.results.statistics.interval import Estimate, estimate_mean
from automl_kd.results.verdict.distillation import is_clear
from automl_kd.results.verdict.readings import WHERE
from automl_kd.results.verdict.teacher import upper

ShippingChoice = Literal["ship", "keep", "undecided"]
"""Ship the found student; keep or take another one; nothing can be said yet."""

SIMPLER: tuple[CandidateKind, ...] = ("default-scratch", "default-kd", "found-scratch", "found-labels", "found-fresh")
"""What is preferred to the found student at equal accuracy, simplest first."""

SMALLER = 0.9
"""A ratio of costs from which on a student is called smaller."""

AS_FAST = 1.05
"""A ratio up to which latencies, which are measured, are not told apart."""


class Recommendation(NamedTuple):
    """`headline`: what to do. `reason`: the numbers that say so. `chosen`: what to ship; None where undecided."""

    choice: ShippingChoice
    headline: str
    reason: str
    chosen: StudentCandidate | None


def recommend_candidate(experiment: JudgedExperiment) -> Recommendation:
    """What to ship, of the candidates of one experiment."""
    found, others = experiment.found, [one for one in experiment.candidates if one is not experiment.found]
    if experiment.stand_in:
        return Recommendation("undecided", "Nothing can be decided by this experiment.", experiment.stand_in, None)
    gains = {one.role: pair_accuracies(found, one) for one in others} if found else {}
    known = [one for one in others if one.role in gains and gains[one.role].n]
    if found is None or not known:
        return Recommendation("undecided", "Nothing can be decided yet.", undecided_reason(experiment), None)
    where = f" {WHERE[experiment.judged.reading]}"
    untold = [one for one in known if gains[one.role].n == 1]
    if len(untold) == len(known) or any(one.kind == "default-kd" for one in untold):
        differences = "; ".join(f"{units.points(gains[one.role].mean)} points over {one.phrase}" for one in untold)
        reason = f"With one seed {found.phrase} differs by {differences}{where}."
        return Recommendation("undecided", "One seed cannot tell the students apart: train more.", reason, None)
    advice = judge_found(experiment, found, {one.role: one for one in known if one not in untold}, gains)
    left_open = "".join(f" Nothing is known of {one.phrase}, as they share one seed." for one in untold)
    return advice._replace(reason=f"{advice.reason}{left_open}")


def judge_found(
    experiment: JudgedExperiment,
    found: StudentCandidate,
    known: Mapping[str, StudentCandidate],
    gains: Mapping[str, Estimate],
) -> Recommendation:
    """The found one against all others, by role, over which these are its gains."""
    where = f" {WHERE[experiment.judged.reading]}"
    if better := [one for role, one in known.items() if is_clear(gains[role]) and gains[role].mean < 0]:
        return take_better(experiment, found, max(better, key=lambda one: one.val), where)
    equal = [one for role, one in known.items() if not is_clear(gains[role])]
    if same := next((one for one in equal if is_same_training(found, one)), None):
        reason = (
            f"The search chose the default student ({found.student}) and trains it by plain KD: nothing was gained."
        )
        return Recommendation("keep", "Keep the plain KD student: the search found nothing better.", reason, same)
    if simpler := simplest_of(equal, found):
        return take_simpler(experiment, found, simpler, where)
    return ship_found(found, list(known.values()), gains, where)


def pair_accuracies(better: StudentCandidate, base: StudentCandidate) -> Estimate:
    """Test accuracy of `better` less that of `base`, over the seeds that both completed."""
    ours, theirs = better.accuracy, base.accuracy
    return estimate_mean(round(ours[seed] - theirs[seed], 12) for seed in ours if seed in theirs)


def percents_of(one: StudentCandidate, other: StudentCandidate) -> tuple[str, str]:
    """Test accuracies of both, means over the seeds that both completed, as their difference is."""
    shared = [seed for seed in one.accuracy if seed in other.accuracy]
    ours, theirs = (estimate_mean(each.accuracy[seed] for seed in shared).mean for each in (one, other))
    return units.percent(ours), units.percent(theirs)


def is_same_training(found: StudentCandidate, other: StudentCandidate) -> bool:
    same = ("architecture_id", "teaching", "length")
    return other.kind == "default-kd" and all(getattr(found, name) == getattr(other, name) for name in same)


def undecided_reason(experiment: JudgedExperiment) -> str:
    judged = experiment.judged
    return "No final training is complete." if isinstance(judged, Comparison) else judged.sentence


def simplest_of(equal: Iterable[StudentCandidate], found: StudentCandidate) -> StudentCandidate | None:
    """The simplest one that is not larger than the found one, and that no other of them is shown to beat."""
    usable = [one for one in equal if one.kind in SIMPLER and not is_smaller(found, one)]
    for one in sorted(usable, key=lambda one: SIMPLER.index(one.kind)):
        beaten = (pair_accuracies(other, one) for other in usable if other is not one)
        if not any(is_clear(gain) and gain.mean > 0 for gain in beaten):
            return one
    return None


def is_smaller(one: StudentCandidate, other: StudentCandidate) -> bool:
    """Whether it costs clearly less in parameters, multiply-adds or latency, and more in none of them."""
    ratios = cost_ratios(one, other)
    more = any(ratio > (AS_FAST if name == "latency" else 1) for name, ratio in ratios.items())
    return bool(ratios) and min(ratios.values()) <= SMALLER and not more


def cost_ratios(one: StudentCandidate, other: StudentCandidate) -> dict[str, float]:
    """What `one` costs over what `other` does, by the names of costs for people, where both are known."""
    pairs = {
        "parameters": (one.params, other.params),
        "multiply-adds": (one.macs, other.macs),
        "latency": (one.latency_ms, other.latency_ms),
    }
    return {name: ours / theirs for name, (ours, theirs) in pairs.items() if ours and theirs}


HEADLINES: Mapping[CandidateKind, str] = {
    "default-scratch": "Train the default student from scratch",
    "default-kd": "Keep the plain KD student",
    "found-scratch": "Train the found student from scratch",
    "found-labels": "Train the found student on labels alone, from the same weights",
    "found-fresh": "Ship the found student, trained from fresh weights",
    "found": "Ship the found student",
    "pruned": "Ship your teacher, pruned",
    "method": "Ship the student",
}
"""Beginnings of sentences that say what to do."""


def headline_of(experiment: JudgedExperiment, one: StudentCandidate, why: str) -> str:
    judged, begin = experiment.judged, HEADLINES[one.kind]
    if isinstance(judged, Comparison):
        ship = f"Ship the student by {one.title}"
        plain = {"default-kd": f"Keep the student by {one.title}", "found-labels": ship, "method": ship}
        begin = plain.get(one.kind, begin)
    elif judged.distilled:
        begin = begin.replace("default student", "student").replace("found student", "student")
    return f"{begin}: {why}."


def take_better(
    experiment: JudgedExperiment, found: StudentCandidate, other: StudentCandidate, where: str
) -> Recommendation:
    """Another candidate is shown to be better than the found one."""
    why = {
        "default-scratch": f"neither search nor teacher helped{where}",
        "default-kd": f"the search did not help{where}",
        "found-scratch": f"teaching it did not help{where}",
        "found-labels": f"the teacher's answers did not help{where}",
        "found-fresh": "beginning with other weights did not help",
        "pruned": "it is better than the found student",
    }.get(other.kind, "it is better than the found one")
    if not is_search(experiment):
        why = {"default-scratch": f"the teacher did not help{where}", "default-kd": f"{found.title} did not help"}.get(
            other.kind, "it is better"
        )
    gain, (theirs, ours) = pair_accuracies(other, found), percents_of(other, found)
    reason = (
        f"{upper(other.phrase)} reaches {theirs} % on test, {bare_points(gain)} points more than {found.phrase} with "
        f"{ours} % ({interval_of(gain)}){where}."
    )
    return Recommendation("keep", headline_of(experiment, other, why), f"{reason}{compare_costs(other, found)}", other)


def take_simpler(
    experiment: JudgedExperiment, found: StudentCandidate, other: StudentCandidate, where: str
) -> Recommendation:
    """The found one is not shown to be better than something simpler."""
    seeds = units.some(pair_accuracies(found, other).n, "seed")
    searched = is_search(experiment)
    why = {
        "default-scratch": f"it is as good, as far as {seeds} can tell",
        "default-kd": "the search did not help" if searched else f"{found.title} is not shown to help",
        "found-scratch": f"it is as good without the teacher, as far as {seeds} can tell",
        "found-labels": f"it is as good without the teacher's answers, as far as {seeds} can tell",
        "found-fresh": f"they are as good, as far as {seeds} can tell",
    }[other.kind]
    gain, (ours, theirs) = pair_accuracies(found, other), percents_of(found, other)
    reason = (
        f"No gain of {found.phrase} ({ours} % on test) over {other.phrase} ({theirs} %) is shown "
        f"(difference {units.points(gain.mean)} points, {interval_of(gain)}){where}."
    )
    return Recommendation("keep", headline_of(experiment, other, why), f"{reason}{compare_costs(found, other)}", other)


def ship_found(
    found: StudentCandidate, known: list[StudentCandidate], gains: Mapping[str, Estimate], where: str
) -> Recommendation:
    """The found one is better than what is simpler, or as good as what is larger."""
    base = next((one for one in known if one.kind == "default-kd"), known[0])
    gain, (ours, theirs) = gains[base.role], percents_of(found, base)
    reached = f"on test it reaches {ours} %, {base.phrase} {theirs} %"
    what = "your teacher, pruned" if found.kind == "pruned" else "the found student"
    if found.kind == "method":
        what = f"the student by {found.title}"
    elif found.phrase.startswith("the student"):
        what = found.phrase
    if is_clear(gain):
        head = f"Ship {what}: it is {bare_points(gain)} points better than {base.phrase}."
        reason = f"{upper(reached)} ({interval_of(gain)}){where}."
    else:
        head = f"Ship {what}: it costs less, and no loss in accuracy is shown."
        reason = f"{upper(reached)} (difference {units.points(gain.mean)} points, {interval_of(gain)}){where}."
    unclear = [one for one in known if one is not base and not is_clear(gains[one.role])]
    beside = "".join(
        f" No difference is shown to {one.phrase} ({units.points(gains[one.role].mean)} points)." for one in unclear
    )
    return Recommendation("ship", head, f"{reason}{beside}{compare_costs(found, base)}", found)


def is_search(experiment: JudgedExperiment) -> bool:
    return not isinstance(experiment.judged, Comparison) and not experiment.judged.distilled


def compare_costs(one: StudentCandidate, other: StudentCandidate) -> str:
    """Where they cost different amounts, how many times the parameters and multiply-adds of `other` one has."""
    ratios = {name: ratio for name, ratio in cost_ratios(one, other).items() if not SMALLER < ratio < 1 / SMALLER}
    if not ratios:
        return ""
    listed = " and ".join(f"{units.times(ratio)} times its {name}" for name, ratio in ratios.items())
    return f" Beside {other.phrase}, {one.phrase} has {listed}."


def bare_points(gain: Estimate) -> str:
    """The size of a difference in points, without its sign."""
    return units.points(abs(gain.mean)).removeprefix("+")


def interval_of(gain: Estimate) -> str:
    return f"95 % interval {units.points(gain.low)} to {units.points(gain.high)}, {units.some(gain.n, 'seed')}"


def compare_teacher(one: StudentCandidate, accuracy: float, params: float, macs: float) -> str:
    """How the chosen student stands beside its teacher, whose numbers these are (NaN where not known)."""
    parts = []
    if not math.isnan(accuracy):
        change = one.test.mean - accuracy
        word = "above" if change > 0 else "below"
        points = units.points(abs(change)).removeprefix("+")
        parts.append(f"is {points} points {word} the teacher ({units.percent(accuracy)} % on test)")
    pairs = {"parameters": (one.params, params), "multiply-adds": (one.macs, macs)}
    shares = [
        f"{ours / theirs:.1%} of its {name}".replace("%", " %")
        for name, (ours, theirs) in pairs.items()
        if ours and theirs and not math.isnan(theirs)
    ]
    if shares:
        parts.append(f"has {' and '.join(shares)}")
    return f"{upper(one.phrase)} {' and '.join(parts)}." if parts else ""
