"""A sentence on what the teacher cache saved."""

from __future__ import annotations

import pandas as pd

PASSES, SAVED, SECONDS = "teacher_passes", "teacher_passes_saved", "teacher_seconds_saved"


def saving(rows: pd.DataFrame) -> str:
    """Of all trials in `rows`, each counted once; empty where none of them had a cache."""
    trials = rows.drop_duplicates("key")
    trials = trials[trials[PASSES].notna()]
    if trials.empty:
        return ""
    computed, saved, seconds = (float(trials[name].sum()) for name in (PASSES, SAVED, SECONDS))
    return (
        f"Teacher passes on training batches: {computed:,.0f} computed, {saved:,.0f} served from the cache, "
        f"about {seconds:,.0f} s saved; compute counts them all."
    )
