"""What an archive answers, in sentences."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import NamedTuple

from automl_kd.results import units
from automl_kd.results.archive.choice import MissingTraining, StudentChoice
from automl_kd.results.archive.limits import COST_MEASURES, Costs
from automl_kd.results.archive.students import ScoredStudent, TrainedStudent


class NamedSentence(NamedTuple):
    """`name`: what it is about: "metric", "take", "smallest", "training", "export", "missing" or "aside"."""

    name: str
    text: str


def choice_sentences(choice: StudentChoice) -> list[NamedSentence]:
    """The answer, how sure it is, and what to do next."""
    return [NamedSentence(name, text) for name, text in tell_choice(choice) if text]


def tell_choice(choice: StudentChoice) -> Iterator[tuple[str, str]]:
    best, smallest = choice.best, choice.smallest
    yield "metric", units.metric_sentence([choice.archive.metric])
    if best is not None and smallest is not None:
        yield "take", take_sentence(choice, best)
        yield "smallest", smallest_sentence(choice, best, smallest)
        yield "training", length_sentence(best)
        yield "training", unequal_sentence(choice, best)
        for one in dict.fromkeys((best, smallest)):
            yield "export", export_sentence(one)
    else:
        yield "take", f"No trained student has {choice.limits}; scored ones have."
    if choice.missing:
        yield "missing", training_sentence(choice, choice.missing)
    yield "aside", left_out_sentence(choice)


def take_sentence(choice: StudentChoice, best: TrainedStudent) -> str:
    """Which student to take, with its numbers."""
    verb = "keep the plain student: no other one beats it. It is" if best.plain else "take"
    verb = f"With {choice.limits}, {verb}" if choice.limits.given else verb[0].upper() + verb[1:]
    where = f"; latency on {choice.archive.devices[0]}" if best.costs.latency_ms is not None else ""
    test = f" On test it has {units.percent(best.test_accuracy)} %." if best.test_accuracy is not None else ""
    return (
        f"{verb} {describe_student(best)}, {teaching_of(best)}. On validation it has {accuracy_in_words(best)} % (mean "
        f"of {units.some(best.seeds, 'seed')}, one standard error), after {epochs_of(best.epochs)}. It has "
        f"{costs_in_words(best.costs.by_name)}{where}.{test}"
    )


def smallest_sentence(choice: StudentChoice, best: TrainedStudent, smallest: TrainedStudent) -> str:
    """Which student of least cost is as good as can be told."""
    cost = COST_MEASURES[choice.cost].title.split(",")[0]
    if smallest is best:
        return f"By {cost}, no smaller student lies within one standard error of it." if len(choice.shown) > 1 else ""
    plain = "the plain student " if smallest.plain else ""
    return (
        f"Of those within one standard error of it, {plain}{describe_student(smallest)}, {teaching_of(smallest)}, has "
        f"the least {cost}: {accuracy_in_words(smallest)} % on validation, {costs_in_words(smallest.costs.by_name)}."
    )


def length_sentence(best: TrainedStudent) -> str:
    """That a training was short."""
    if best.full:
        return ""
    ended = "a scheduler stopped its training" if best.status == "stopped" else "its training was one of the search"
    ended += ", from its parent's weights" if best.inherited else ""
    return f"It was not trained in full: {ended}, after {trained_length(best)}. No student within these limits was."


def unequal_sentence(choice: StudentChoice, best: TrainedStudent) -> str:
    """That trainings in full had other lengths than that of the best, as at equal compute."""
    lengths = [one.epochs for one in choice.shown if one.standing == best.standing]
    if max(lengths) - min(lengths) < 0.01 * max(lengths):
        return ""
    return (
        f"The students trained in full were so for {min(lengths):.3g} to {max(lengths):.3g} epochs, as their methods "
        "differ in cost; they are compared as they are."
    )


def export_sentence(one: TrainedStudent) -> str:
    """The command that hands the student on, or why there is none."""
    if one.trial is not None:
        trial = shlex.quote(str(one.trial))
        return f"Its folder is {trial}; hand it on: automl-kd export {trial} student-{one.architecture_id}"
    if one.status == "stopped":
        return f"A training that was stopped leaves no weights of {one.architecture_id}."
    empty = one.folder / "trials" / one.keys[0]
    return (
        f"The weights of {one.architecture_id} are not here: {empty} holds none; copy them from where it was trained."
    )


def training_sentence(choice: StudentChoice, missing: MissingTraining) -> str:
    """Which training is missing, why, and the command for it."""
    student = missing.student
    reasons = {
        "none-trained": f"By {proxies_of(student)} the best is {describe_student(student)}, which was only scored",
        "trained-short": f"{student.architecture_id} should be trained in full",
        "short-is-better": f"{describe_student(student)} did better in {short_training(student)} ({short_of(student)})",
        "scored-is-better": (
            f"By {proxies_of(student)} the best student within the limits is {describe_student(student)}, which was "
            "only scored"
        ),
    }
    costs = f" ({costs_in_words(student.costs.by_name)})" if isinstance(student, ScoredStudent) else ""
    return f"{reasons[missing.reason]}{costs}; train it: {training_command(choice, missing)}"


def training_command(choice: StudentChoice, missing: MissingTraining) -> str:
    """The commands that write the experiment of a missing training, and run it."""
    file = f"train-{missing.student.architecture_id}.toml"
    limits = [(COST_MEASURES[name].option, f"{value:.15g}") for name, value in choice.limits.given.items()]
    options = [part for pair in limits for part in pair]
    options += ["--device", choice.archive.device] if choice.archive.device else []
    pick = shlex.join(["automl-kd", "pick", *choice.archive.places, *options, "--train", file])
    return f"{pick} && automl-kd search {file}"


def left_out_sentence(choice: StudentChoice) -> str:
    """What was not chosen among, and how much of it."""
    archive, left = choice.archive, [f"{count:,} {reason}" for reason, count in choice.archive.left_out.items()]
    if "latency_ms" in choice.limits.given:
        trained = len({one.identity for one in archive.trained if one.costs.latency_ms is None})
        scored = sum(one.count_unmeasured(archive.latencies) for one in archive.scored)
        left += [f"{trained} trained and {scored:,} scored architectures without a latency"] if trained + scored else []
    return f"Left out: {', '.join(left)}." if left else ""


def describe_student(one: TrainedStudent | ScoredStudent) -> str:
    return f"{one.architecture_id} ({one.student})" if one.student else one.architecture_id


def teaching_of(one: TrainedStudent) -> str:
    """By what it was taught, as "taught by kd (temperature=4) from the teacher's weights"."""
    begun = units.beginning(one.init)
    if one.method == "scratch":
        return f"trained on labels alone{begun}" if begun else "trained from scratch"
    options = units.options(one.options_json)
    return f"taught by {one.method}{f' ({options})' if options else ''}{begun}"


def accuracy_in_words(one: TrainedStudent) -> str:
    """In percent, with one standard error where it is known."""
    error = one.standard_error
    return units.percent_interval(one.val_accuracy, error if error else float("nan"))


def epochs_of(epochs: float) -> str:
    return "1 epoch" if epochs == 1 else f"{epochs:.3g} epochs"


def short_of(one: TrainedStudent | ScoredStudent) -> str:
    if isinstance(one, ScoredStudent):
        return ""
    return f"{units.percent(one.val_accuracy)} % after {trained_length(one)}"


def short_training(one: TrainedStudent | ScoredStudent) -> str:
    inherited = isinstance(one, TrainedStudent) and one.inherited
    return "a training from its parent's weights" if inherited else "a shorter training"


def trained_length(one: TrainedStudent) -> str:
    """How long it was trained, and of how much; a training from a parent's weights may lack no epoch."""
    return f"{epochs_of(one.epochs)} of {one.full_epochs:g}" if one.lacks_epochs else epochs_of(one.epochs)


def proxies_of(one: TrainedStudent | ScoredStudent) -> str:
    return " and ".join(one.proxies) if isinstance(one, ScoredStudent) else ""


def costs_in_words(costs: Costs) -> str:
    """All that are known, as "442 k parameters, 9.97 M MACs"."""
    return ", ".join(COST_MEASURES[name].say(value) for name, value in costs.items() if value is not None)
