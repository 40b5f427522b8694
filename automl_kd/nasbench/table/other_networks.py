"""Scores of cells that are named as NAS-Bench-201's and stand in other networks: smaller ones, or wider.

Spaces that build different networks of the same cells share their labels, and the table's accuracies are of one of
them only. Parameters decide: on a dataset of the table they must be the table's. On another one the stem and the
classifier may have other sizes, which are the same for all cells, so the difference must be the same for all.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from automl_kd.nasbench.table.columns import TABLE_DATASETS
from automl_kd.nasbench.table.table import Table

NETWORK_COLUMNS = ["space", "dataset"]


def without_others(scores: pd.DataFrame, table: Table) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The scores that may be held against the table, and a sentence about each kind of others.

    `scores` has columns space, dataset, student and params. Where no params are on record nothing is left out, nor are
    scores under labels that the table does not have.
    """
    others = dict(find_others(scores, table))
    if not others:
        return scores, ()
    keys = zip(*(scores[name] for name in NETWORK_COLUMNS), strict=True)
    return scores[[key not in others for key in keys]], tuple(others.values())


def find_others(scores: pd.DataFrame, table: Table) -> Iterator[tuple[tuple[str, str], str]]:
    """Space and dataset of other networks, and the sentence."""
    known = scores[[*NETWORK_COLUMNS, "student", "params"]].drop_duplicates().dropna()
    row = pd.Index(table.arch_str).get_indexer(pd.Index(known["student"].astype(str)))
    for kind, ours in known.assign(row=row)[row >= 0].groupby(NETWORK_COLUMNS, observed=True):
        space, dataset = map(str, kind)
        expected = table.params(dataset if dataset in TABLE_DATASETS else TABLE_DATASETS[0])[ours["row"]]
        difference = ours["params"].to_numpy(dtype=np.float64) - expected
        difference = difference[~np.isnan(expected)]
        low, high = difference.min(initial=np.inf), difference.max(initial=-np.inf)
        if max(-low, high) >= 1 if dataset in TABLE_DATASETS else high - low >= 1:
            wanted = "no difference" if dataset in TABLE_DATASETS else "the same difference for all cells"
            yield (
                (space, dataset),
                f"Scores of {space} on {dataset} are left out: its networks are not those of the table (their "
                f"parameters differ by {low:+,.0f} to {high:+,.0f}, where {wanted} was expected); score "
                "search_spaces.nasbench201:SPACE.",
            )
