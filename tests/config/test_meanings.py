"""Every field of an experiment has a meaning, and the values that it is said to take are those that it takes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import pytest

from automl_kd.config import (
    Budget,
    ComparisonSection,
    Experiment,
    ExportSection,
    Finalists,
    MethodEntry,
    PublishedFigure,
    Range,
    Resources,
    SearchSection,
    StandInSection,
    StudentSection,
)
from automl_kd.config.meanings import ANYTHING, meanings_of, member_record, summary_of
from automl_kd.config.reading import field_types
from automl_kd.nasbench.config import (
    FormulaSearch,
    ProxyExperiment,
    ProxySearch,
    SamplerRun,
    ScoreSource,
    TableExperiment,
    TableSearch,
    TableTask,
    Tradeoff,
    TrainingFree,
)
from automl_kd.registry import literal_in
from automl_kd.spec import DataSpec, LoaderOptions, Preprocessing, Recipe, TeacherCacheOptions, TeacherSpec

TASK = TableTask(name="a", choose="b", report="c")
PROXY = ProxySearch(scores="a", choose="b", searches=(FormulaSearch(sampler="random"),))
SAMPLES: dict[Any, Any] = {
    type(one): one
    for one in (
        *(Experiment(name="a", space="b:C"), DataSpec(), TeacherSpec(), Recipe(), Budget(), SearchSection()),
        *(
            Resources(),
            TeacherCacheOptions(),
            LoaderOptions(),
            Finalists(),
            ExportSection(),
            ComparisonSection(),
            MethodEntry(name="a", method="kd"),
            StandInSection(),
            PublishedFigure(title="a", accuracy=50, source="b"),
        ),
        *(Range(low=0, high=10), TASK, SamplerRun(sampler="a"), ScoreSource(file="a"), TrainingFree(), Tradeoff()),
        *(TableSearch(tasks=(TASK,)), TableExperiment(name="a", space="b:C", table=TableSearch(tasks=(TASK,)))),
        *(
            Preprocessing(),
            StudentSection(),
            FormulaSearch(sampler="a"),
            PROXY,
            ProxyExperiment(name="a", space="b:C", proxy=PROXY),
        ),
    )
}
BESIDE: dict[tuple[Any, str], dict[str, Any]] = {
    (DataSpec, "mean"): {"std": (0.5,)},
    (DataSpec, "std"): {"mean": (0.5,)},
    (Preprocessing, "mean"): {"std": (0.5,)},
    (Preprocessing, "std"): {"mean": (0.5,)},
    (Recipe, "momentum"): {"nesterov": False},
    (SamplerRun, "warm_sample"): {"warm_count": 1},
    (TrainingFree, "trials"): {"top": 1},
}
"""What else must change with a field that takes its least value."""

NUMBER = re.compile(r"(?P<low>[\d.]+) (?:or more|to (?P<top>[\d.]+))|above (?P<over>[\d.]+)")
UPPER = re.compile(r", (?:below (?P<below>[\d.]+)|at most (?P<most>[\d.]+))$")


class Limits(NamedTuple):
    """The ends of what is allowed, and what lies just beyond them."""

    inside: list[float]
    outside: list[float]


def read_limits(allowed: str, *, whole: bool) -> Limits:
    found, upper = NUMBER.match(allowed), UPPER.search(allowed)
    assert found, allowed
    assert found[0] + (upper[0] if upper else "") == allowed
    step = 1 if whole else 1e-6
    inside, outside = [], []
    if found["over"]:
        outside.append(float(found["over"]))
        inside.append(float(found["over"]) + step)
    else:
        inside.append(float(found["low"]))
        outside.append(float(found["low"]) - step)
    if most := found["top"] or (upper and upper["most"]):
        inside.append(float(most))
        outside.append(float(most) + step)
    elif upper:
        inside.append(float(upper["below"]) - step)
        outside.append(float(upper["below"]))
    return Limits(inside, outside)


def records_below(kind: Any) -> Iterator[Any]:
    yield kind
    for hint in field_types(kind).values():
        member = hint if dataclasses.is_dataclass(hint) else member_record(hint)
        if member not in {None, kind}:
            yield from records_below(member)


def fields_of_all() -> Iterator[tuple[Any, str]]:
    for kind in SAMPLES:
        yield from ((kind, name) for name in field_types(kind))


def numbers_of_all() -> Iterator[tuple[Any, str]]:
    for kind, name in fields_of_all():
        hint = field_types(kind)[name]
        plain = {one for one in (hint, *get_args(hint)) if isinstance(one, type)}
        if plain & {int, float} and literal_in(hint) is None and not plain & {str, bool}:
            yield kind, name


def test_all_records_are_looked_at():
    assert {one for kind in (Experiment, TableExperiment, ProxyExperiment) for one in records_below(kind)} == set(
        SAMPLES
    )


@pytest.mark.parametrize(("kind", "name"), [*fields_of_all()], ids=lambda one: getattr(one, "__name__", one))
def test_no_field_is_without_a_meaning(kind, name):
    meaning = meanings_of(kind).get(name)
    assert meaning is not None, f'the docstring of {kind.__name__} says nothing of it; add "`{name}`: ..."'
    assert len(meaning.text.split()) >= 2
    assert meaning.sentence.endswith(".")
    assert not meaning.sentence.startswith("Of "), "it is read alone, above its key"


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
def test_no_meaning_is_of_a_field_that_there_is_not(kind):
    assert meanings_of(kind).keys() == field_types(kind).keys()
    assert summary_of(kind)


@pytest.mark.parametrize(("kind", "name"), [*numbers_of_all()], ids=lambda one: getattr(one, "__name__", one))
def test_a_number_takes_what_it_is_said_to_take_and_nothing_else(kind, name):
    sample, hint = SAMPLES[kind], field_types(kind)[name]
    several = hint not in {int, float, int | float}
    allowed = meanings_of(kind)[name].allowed
    assert allowed, (
        f"the docstring of {kind.__name__} gives no values; write `{name}` ({ANYTHING}) if there are no limits"
    )
    if allowed == ANYTHING:
        return
    whole = hint in {int, tuple[int, ...]}
    limits = read_limits(allowed, whole=whole)
    for number in limits.inside:
        value = int(number) if whole else number
        dataclasses.replace(sample, **{name: (value,) if several else value}, **BESIDE.get((kind, name), {}))
    for number in limits.outside:
        value = int(number) if whole else number
        with pytest.raises(ValueError, match=r"must|should|need|limits|fraction|lie"):
            dataclasses.replace(sample, **{name: (value,) if several else value})


def test_choices_and_switches_are_told_by_their_types():
    assert meanings_of(Recipe)["optimizer"].allowed == '"sgd", "adamw", "lamb"'
    assert meanings_of(Recipe)["amp"].allowed == "true or false"
    assert meanings_of(Resources)["loggers"].allowed == '"tensorboard", "mlflow", "wandb"'
    assert meanings_of(Experiment)["recipe"].text == "How a network is trained, whatever its loss."


def test_fields_may_share_a_meaning():
    @dataclasses.dataclass
    class Shared:
        """What it is. `not_a_field` is none.

        `one` (1 or more), `two`: of both. More of it.
        """

        one: int = 1
        two: str = ""

    assert summary_of(Shared) == "What it is. `not_a_field` is none."
    assert meanings_of(Shared)["one"] == ("of both. More of it.", "1 or more")
    assert meanings_of(Shared)["two"].sentence == "Of both. More of it."
