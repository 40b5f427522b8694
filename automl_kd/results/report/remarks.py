"""What methods say of their own search: that it found nothing, did harm or had no room."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from automl_kd.results import units


def list_remarks(rows: pd.DataFrame) -> list[str]:
    """A line for each remark of the trials in `rows`, each trial counted once, the most frequent remark first."""
    trials = rows.drop_duplicates("key")
    every = Counter(map(str, trials["method"]))
    said = trials[trials["remark"].notna()]
    counts = Counter(zip(map(str, said["method"]), map(str, said["remark"]), strict=True))
    return [
        f"{method}, {count} of {units.some(every[method], 'trial')}: {remark}."
        for (method, remark), count in counts.most_common()
    ]
