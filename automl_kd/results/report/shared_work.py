"""Sentences on what the trials of one search had from each other, in place of computing it again."""

from __future__ import annotations

import pandas as pd

PASSES, SAVED, SECONDS = "teacher_passes", "teacher_passes_saved", "teacher_seconds_saved"
DELIVERED, DECODED, WAITED = "images_delivered", "images_decoded", "loader_seconds"


def shared_work(rows: pd.DataFrame) -> list[str]:
    """Sentences of the teacher cache and of streamed images; none of what no trial in `rows` had."""
    return [line for line in (saved_passes(rows), decoded_images(rows)) if line]


def saved_passes(rows: pd.DataFrame) -> str:
    """Of all trials in `rows`, each counted once; empty where none of them had a cache."""
    trials = trials_with(rows, PASSES)
    if trials.empty:
        return ""
    computed, saved, seconds = (float(trials[name].sum()) for name in (PASSES, SAVED, SECONDS))
    return (
        f"Teacher passes on training batches: {computed:,.0f} computed, {saved:,.0f} served from the cache, "
        f"about {seconds:,.0f} s saved; compute counts them all."
    )


def decoded_images(rows: pd.DataFrame) -> str:
    """Of all trials in `rows`, each counted once; empty where none of them had its images streamed."""
    trials = trials_with(rows, DELIVERED)
    delivered, decoded, waited = (float(trials[name].sum()) for name in (DELIVERED, DECODED, WAITED))
    if not delivered:
        return ""
    seconds = float(trials["seconds"].sum())
    share = f", {100 * waited / seconds:.0f} % of their training" if seconds > 0 else ""
    return (
        f"Images streamed to trials: {delivered:,.0f} delivered, {decoded:,.0f} decoded for them "
        f"({decoded / delivered:.2f} for each); the trials waited {waited:,.1f} s for them{share}."
    )


def trials_with(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    trials = rows.drop_duplicates("key")
    return trials[trials[column].notna()]
