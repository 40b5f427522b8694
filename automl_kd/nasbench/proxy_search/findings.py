"""The findings of a proxy search, from which its report is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

FOUND_FORMULA = "found formula"


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """`judged`: rankings against targets. `generality`: the found one in and out of its labels.

    `statement`: what the labels are; `dataset`, of which dataset; `label_seconds`, what training for them took.
    `searches`, `numbers`: the formula of each search, and of searches with other numbers of labels, with Kendall in a
    column named by the target. `label_hours`: mean training time for each number of labels. `members`: statistics of
    the found formula. `absent`: what was not scored on a target.
    """

    name: str
    formula: str
    statement: str
    dataset: str
    labels: int
    label_seconds: float
    judged: pd.DataFrame
    generality: pd.DataFrame
    searches: pd.DataFrame
    numbers: pd.DataFrame
    label_hours: Mapping[int, float]
    members: pd.DataFrame
    absent: Mapping[str, tuple[str, ...]]
    provenance: Mapping[str, str]

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """The rows of `judged` by family of targets: NAS-Bench-201, and S1 if it was asked for."""
        family = self.judged["target"].str.partition(" ")[0].str.rstrip(",")
        return {str(name): rows for name, rows in self.judged.groupby(family, sort=False, observed=True)}
