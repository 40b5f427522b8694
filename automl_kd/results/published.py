"""What a report says of figures that are none of its own: those of others, and those of a stand-in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from automl_kd.results import units
from automl_kd.results.sheet import Column, Sheet


def figures_as_markdown(figures: Sequence[Mapping[str, Any]]) -> str:
    sheet = figures_of_others(figures)
    return f"\n{PUBLISHED_NOTE}\n\n{sheet.to_markdown()}" if sheet else ""


def is_stand_in(record: Mapping[str, Any]) -> bool:
    return bool((record.get("stand_in") or {}).get("images"))


def stand_in_sentence(record: Mapping[str, Any]) -> str:
    """That nothing follows from the numbers of this experiment; empty where nothing stands in for anything."""
    if not is_stand_in(record):
        return ""
    full = record["stand_in"]
    data, epochs = record.get("data", {}), record.get("recipe", {}).get("epochs", 0)
    size = f" at {full['resolution']} pixels" if full.get("resolution") else ""
    return (
        f"A stand-in: {units.some(data.get('train_images', 0), 'image')} at {data.get('resolution', 0)} pixels in "
        f"place of {full['images']:,}{size}, and {units.some(epochs, 'epoch')} in place of {full.get('epochs', 0)}. It "
        "shows that the experiment runs; nothing follows from its accuracies, and no leaderboard shows them."
    )


def figures_of_others(figures: Sequence[Mapping[str, Any]]) -> Sheet | None:
    """What others have published, as an experiment names it; None where it names nothing."""
    rows = tuple((one["title"], f"{one['accuracy']:.2f}", one["source"]) for one in figures)
    columns = (Column("published by others"), Column("test, % (published)", numeric=True), Column("source"))
    return Sheet(columns, rows) if rows else None


def published_of(figures: Sequence[Mapping[str, Any]], method: str, options_json: str) -> str:
    """The published accuracies of a compared method with its options, from the lowest to the highest."""
    words = re.findall(r"\w+", options_json)
    ours = [one for one in figures if one["method"] == method and (not one["option"] or one["option"] in words)]
    found = sorted(one["accuracy"] for one in ours)
    return " to ".join(f"{one:.2f}" for one in dict.fromkeys((*found[:1], *found[-1:]))) or units.MISSING


PUBLISHED_NOTE = (
    "Figures of others, not measured here and not judged: their compute is not equal to ours, nor to each other's, and "
    "most tell their last or best epoch on the test images."
)
