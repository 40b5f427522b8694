"""Formulas as a search space: which statistics of untrained networks are summed, and how each enters.

A point is an aggregate of so many terms. Each is one statistic's rank, taken as it is, bounded by another's from above
or below, or clipped at one half, and weighted, downwards by a negative weight.
Any sampler can search this space like one of students; its points build no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from automl_kd.errors import InfeasibleArchitectureError
from automl_kd.proxies.aggregate import Aggregate, AggregateKind, Operand, RankTerm, merged
from automl_kd.space import Architecture, Choice, InputShape, Parameter, SearchSpace, Values, When

RANK_SUMS: tuple[AggregateKind, ...] = ("rank_sum", "log_rank_sum")
TERM_WEIGHTS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)
MIDDLE_RANK = 0.5
BOUNDED = ("min", "max")
FORMS = ("rank", "low half", "high half", *BOUNDED)
"""As it is; with differences above the middle, or below it, ignored; no higher or no lower than another's rank."""


def formula_space(statistics: Sequence[str], terms: int) -> SearchSpace:
    """Aggregates of 1 to `terms` terms of `statistics`, distinct names."""
    names = tuple(statistics)
    parameters = {"kind": Parameter(Choice(RANK_SUMS)), "terms": Parameter(Choice(tuple(range(1, terms + 1))))}
    for number in range(1, terms + 1):
        parameters |= term_parameters(number, terms, names)
    return SearchSpace(
        name="formulas",
        source="written for this project",
        parameters=parameters,
        build=refuse_to_build,
        default={"kind": RANK_SUMS[0], "terms": 1, "term1": names[0], "weight1": 1.0, "form1": FORMS[0]},
        describe=lambda values: str(formula(values)),
    )


def term_parameters(number: int, terms: int, names: tuple[str, ...]) -> dict[str, Parameter]:
    """Of term `number`, which a formula has if it has as many."""
    present = When("terms", tuple(range(number, terms + 1)))
    bounded = When(f"form{number}", BOUNDED)
    return {
        f"term{number}": Parameter(Choice(names), present),
        f"weight{number}": Parameter(Choice(TERM_WEIGHTS), present),
        f"form{number}": Parameter(Choice(FORMS), present),
        f"bound{number}": Parameter(Choice(names), bounded),
        f"downwards{number}": Parameter(Choice((False, True)), bounded),
    }


def formula(values: Values) -> Aggregate:
    """The aggregate that a point stands for; equal sums written in another order are equal aggregates."""
    terms = [term(values, number) for number in range(1, int(values["terms"]) + 1)]
    return Aggregate("rank_sum" if values["kind"] == "rank_sum" else "log_rank_sum", merged(terms))


def term(values: Values, number: int) -> RankTerm:
    first, weight = Operand(str(values[f"term{number}"])), float(values[f"weight{number}"])
    form = values[f"form{number}"]
    if form == "rank":
        return RankTerm(first, weight)
    bound: Literal["min", "max"] = "min" if form in ("min", "low half") else "max"
    if form not in BOUNDED:
        return RankTerm(first, weight, bound, MIDDLE_RANK)
    second = Operand(str(values[f"bound{number}"]), bool(values[f"downwards{number}"]))
    # No rank is higher or lower than itself.
    return RankTerm(first, weight) if second == first else RankTerm(first, weight, bound, second)


def is_short(architecture: Architecture, members: int) -> bool:
    """Whether the formula needs at most so many statistics."""
    return len(formula(architecture.as_dict()).members) <= members


def refuse_to_build(values: Values, shape: InputShape) -> nn.Module:
    raise InfeasibleArchitectureError(
        f"{formula(values)} is a formula, of which no network can be built for {shape.classes} classes; search it by "
        "the section [proxy] of an experiment"
    )
