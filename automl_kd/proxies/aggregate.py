"""Aggregates: several proxies as one, by their ranks within the set of architectures that is scored.

Written out, an aggregate is a sum of terms, with weights or without: "log_rank_sum(2*naswot+macs-0.5*zen)". A term is
a proxy, or "min(a;b)" or "max(a;b)" of the ranks of two; in place of the second a number from 0 to 1 clips the rank of
the first, so that differences above that share of all architectures, or below it, count for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

AggregateKind = Literal["rank_sum", "log_rank_sum"]
Bound = Literal["", "min", "max"]

NAME = r"[^()+\-*;]+"
NUMBER = r"\d+(?:\.\d+)?"
ITEM = rf"(?:(min|max)\((-?)({NAME});(?:({NUMBER})|(-?)({NAME}))\)|({NAME}))"
TERM = re.compile(rf"([+-]?)(?:({NUMBER})\*)?{ITEM}")


def average_ranks(values: Float[np.ndarray, " architectures"]) -> Float[np.ndarray, " architectures"]:
    """From 1 for the least; equals share the mean of theirs. scipy's takes a second to import."""
    return pd.Series(values).rank().to_numpy()


@dataclass(frozen=True)
class Operand:
    """A proxy by its rank, upwards, or downwards as the rank of its negative."""

    member: str
    downwards: bool = False

    def __str__(self) -> str:
        return f"{'-' * self.downwards}{self.member}"

    def __call__(self, shares: Mapping[str, np.ndarray], step: float) -> np.ndarray:
        """`shares`: ranks over m by member; `step`: 1 / m."""
        share = shares[self.member]
        return 1 + step - share if self.downwards else share


@dataclass(frozen=True)
class RankTerm:
    """`weight`, not 0, times a rank; a negative one ranks downwards.

    With `bound`, the rank is the "min" or "max" of that of `first` and of `second`, another's or a share in (0, 1).
    """

    first: Operand
    weight: float = 1.0
    bound: Bound = ""
    second: Operand | float = 1.0

    def __post_init__(self) -> None:
        if not self.weight or not np.isfinite(self.weight):
            raise ValueError(f"a weight must be a number other than 0, got {self.weight}")

    @property
    def item(self) -> str:
        second = f"{self.second:g}" if isinstance(self.second, float) else str(self.second)
        return f"{self.bound}({self.first};{second})" if self.bound else str(self.first)

    @property
    def members(self) -> tuple[str, ...]:
        second = (self.second.member,) if isinstance(self.second, Operand) else ()
        return (self.first.member, *second)

    def __call__(self, shares: Mapping[str, np.ndarray], step: float) -> np.ndarray:
        """In (0, 1], before the weight's size and the kind of sum are applied."""
        found = self.first(shares, step)
        if self.bound:
            # No rank is below the worst one's share.
            other = max(self.second, step) if isinstance(self.second, float) else self.second(shares, step)
            found = np.minimum(found, other) if self.bound == "min" else np.maximum(found, other)
        return 1 + step - found if self.weight < 0 else found


@dataclass(frozen=True)
class Aggregate:
    """`kind` of the ranks that `terms` give, at least one; a name alone is a term of weight 1.

    Ranks run from 1 for the worst to m for the best of m architectures, averaged over ties. "rank_sum" adds them, so a
    good rank under one member makes up for a bad one under another; "log_rank_sum" adds log(rank / m), so a bad rank
    under any member weighs heavily (Lee, Ham. AZ-NAS. 2024. arXiv:2403.19232, equation 8, as its ranking function).
    """

    kind: AggregateKind
    terms: tuple[str | RankTerm, ...]

    @cached_property
    def parts(self) -> tuple[RankTerm, ...]:
        return tuple(RankTerm(Operand(one)) if isinstance(one, str) else one for one in self.terms)

    @cached_property
    def members(self) -> tuple[str, ...]:
        """The proxies that must be scored, each once."""
        return tuple(dict.fromkeys(member for term in self.parts for member in term.members))

    def __str__(self) -> str:
        signed = [f"{'-' if one.weight < 0 else '+'}{factor(one.weight)}{one.item}" for one in self.parts]
        return f"{self.kind}({''.join(signed).removeprefix('+')})"

    def combine(self, values: Float[np.ndarray, "members architectures"]) -> Float[np.ndarray, " architectures"]:
        """Nan where a member is nan; those architectures are not ranked by the other members either.

        Rows are in the order of `members`.
        """
        sound = np.isfinite(values).all(axis=0)
        size = max(int(sound.sum()), 1)
        shares = {name: average_ranks(row[sound]) / size for name, row in zip(self.members, values, strict=True)}
        total = np.full(values.shape[1], np.nan)
        total[sound] = self.sum(shares, size)
        return total

    def sum(self, shares: Mapping[str, np.ndarray], size: int) -> np.ndarray:
        """The aggregate from each member's ranks among `size` architectures, as shares of them in (0, 1]."""
        parts = [(abs(term.weight), term(shares, 1 / size)) for term in self.parts]
        weighted = [weight * (size * share if self.kind == "rank_sum" else np.log(share)) for weight, share in parts]
        total: np.ndarray = np.add.reduce(weighted)
        return total


def factor(weight: float) -> str:
    """The size of a weight as written before a term: nothing for 1."""
    return "" if abs(weight) == 1 else f"{abs(weight):g}*"


def merged(terms: Iterable[RankTerm]) -> tuple[RankTerm, ...]:
    """Terms in the order of their items, those that rank the same way in the same direction as one.

    Opposite ones stay apart: logarithms of ranks upwards and downwards do not cancel.
    """
    found: dict[tuple[str, bool], RankTerm] = {}
    for one in sorted(terms, key=lambda term: (term.weight < 0, term.item)):
        key = one.item, one.weight < 0
        before = found[key].weight if key in found else 0.0
        found[key] = RankTerm(one.first, before + one.weight, one.bound, one.second)
    return tuple(found.values())


def parse_aggregate(text: str) -> Aggregate | None:
    """Read "rank_sum(a+b+c)" or "log_rank_sum(2*a-0.5*min(b;-c)+max(d;0.5))"; None for any other text.

    A repeated term counts once.
    """
    found = re.fullmatch(r"(rank_sum|log_rank_sum)\((.+)\)", re.sub(r"\s*([-+*;()])\s*", r"\1", text.strip()))
    if found is None:
        return None
    kind: AggregateKind = "rank_sum" if found[1] == "rank_sum" else "log_rank_sum"
    terms, place = [], 0
    while place < len(found[2]):
        term = TERM.match(found[2], place)
        if term is None or not (place == 0 or term[1]) or float(term[2] or 1) == 0:
            return None
        terms.append(read_term(term))
        place = term.end()
    return Aggregate(kind, tuple(dict.fromkeys(terms)))


def require_aggregate(text: str) -> Aggregate:
    """The aggregate that `text` writes out, which must be right."""
    found = parse_aggregate(text)
    assert found is not None, text
    return found


def read_term(found: re.Match[str]) -> str | RankTerm:
    """A matched term; a name alone stays one."""
    sign, size, bound, down, first, share, other_down, other, name = found.groups()
    weight = float(size or 1) * (-1 if sign == "-" else 1)
    if name:
        return name if weight == 1 else RankTerm(Operand(name), weight)
    second = float(share) if share else Operand(other, bool(other_down))
    return RankTerm(Operand(first, bool(down)), weight, "min" if bound == "min" else "max", second)
