"""What must hold of a folder of results whenever it is looked at, and what must be equal in the end."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from automl_kd.results.report.leaderboard import leaderboard_markdown, rank_results
from automl_kd.results.store.table import ResultTable
from automl_kd.results.verdict.gain import judge_search
from automl_kd.results.verdict.table import verdict_to_markdown

TIMES = [
    *("seconds", "started", "latency_ms", "latency_iqr_ms", "latency_threads"),
    *("teacher_passes", "teacher_passes_saved", "teacher_seconds_saved"),
]
"""Columns that are measured by a clock, or say what the teacher cache held already: a trial that is repeated finds it
there. Everything else must be equal to the last digit."""

Identity = tuple[Hashable, ...]


@dataclass(frozen=True)
class Seen:
    """Rows by (trial_kind, role, key) and proposals in order, as one look found them."""

    rows: dict[Identity, dict[str, Any]] = field(default_factory=dict)
    proposals: tuple[str, ...] = ()


def look(folder: Path, before: Seen) -> tuple[Seen, list[str]]:
    """What the folder holds, and every rule that it breaks: nothing torn, nothing lost since `before`, none twice."""
    wrong = [f"{path.name} cannot be read: {reason}" for path, reason in torn(folder)]
    table = ResultTable(folder)
    try:
        rows, curves = table.read(), table.curves()
    except Exception as error:  # whatever it is, it is what the torture is there to find
        return before, [*wrong, f"the table cannot be read: {type(error).__name__}: {error}"]
    found = Seen(by_identity(rows), journal(folder))
    if len(found.rows) != len(rows):
        wrong.append("a row is there twice")
    if curves.duplicated(["trial_kind", "key", "epoch"]).any():
        wrong.append("an epoch is in a curve twice")
    if len(set(found.proposals)) != len(found.proposals):
        wrong.append("an architecture was proposed twice")
    if found.proposals[: len(before.proposals)] != before.proposals:
        wrong.append("the journal lost or changed a proposal")
    wrong += [f"row {one} was lost" for one in before.rows if one not in found.rows]
    wrong += [
        f"row {one} was measured again, with other numbers"
        for one in before.rows
        if one in found.rows and not same(before.rows[one], found.rows[one])
    ]
    return found, wrong


def torn(folder: Path) -> list[tuple[Path, str]]:
    """Files under a final name that cannot be read whole. Scratch files, whose names begin with "_", are no matter."""
    found = []
    for path in sorted(folder.parent.rglob("*")):
        if path.name.startswith("_") or any(part.startswith("tune-") or part == "damaged" for part in path.parts):
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".pt":
                torch.load(path, weights_only=True)
        except FileNotFoundError:
            continue
        except Exception as error:  # likewise
            found.append((path, f"{type(error).__name__}: {error}"))
    return found


def journal(folder: Path) -> tuple[str, ...]:
    """The whole lines of the journal."""
    path = folder / "proposals.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return tuple(text[: text.rfind("\n") + 1].splitlines())


def by_identity(rows: pd.DataFrame) -> dict[Identity, dict[str, Any]]:
    kept = rows.drop(columns=TIMES).astype(object)
    records: list[dict[str, Any]] = [
        {str(name): value for name, value in row.items()} for row in kept.to_dict("records")
    ]
    return {(row["trial_kind"], row["role"], row["key"]): row for row in records}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Equal in every column, missing values being equal. A failed trial may have been tried again."""
    return one["status"] == "failed" or all(same_value(one[name], other[name]) for name in one)


def same_value(one: Any, other: Any) -> bool:
    if missing(one) or missing(other):
        return missing(one) and missing(other)
    return bool(one == other)


def missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def outcome(folder: Path) -> dict[str, Any]:
    """All that must not depend on how often a search was killed, by name."""
    table = ResultTable(folder)
    rows, curves = table.read(), table.curves().drop(columns="seconds")
    timeless = rows.assign(seconds=1.0, latency_ms=1.0, latency_iqr_ms=1.0)
    return {
        "proposals": journal(folder),
        "rows": {one: {**row, "proposal": str(row["proposal"])} for one, row in by_identity(rows).items()},
        "curves": curves.to_csv(index=False),
        "weights": weights(folder),
        "finals": json.loads((folder / "finals.json").read_text(encoding="utf-8")),
        "leaderboard": leaderboard_markdown(rank_results(timeless), "torture")
        + verdict_to_markdown(judge_search(timeless)),
    }


def weights(folder: Path) -> dict[str, str]:
    """Digests of the weights that every trial left, the teacher's included, by path."""
    paths = [path for path in sorted(folder.parent.rglob("student*.pt")) if "damaged" not in path.parts]
    return {str(path.relative_to(folder.parent)): digest(path) for path in paths}


def digest(path: Path) -> str:
    state = torch.load(path, weights_only=True)
    whole = hashlib.sha256()
    for name, tensor in state.items():
        whole.update(name.encode())
        whole.update(tensor.numpy().tobytes())
    return whole.hexdigest()[:16]


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Where two outcomes differ, in words."""
    found = [name for name in one if name != "rows" and one[name] != other[name]]
    rows, others = one["rows"], other["rows"]
    if rows.keys() != others.keys():
        found.append(f"rows {sorted(map(str, rows.keys() ^ others.keys()))}")
    for key in rows.keys() & others.keys():
        found += [
            f"{name} of row {key}: {rows[key][name]!r} and {others[key][name]!r}"
            for name in rows[key]
            if not same_value(rows[key][name], others[key][name])
        ]
    return found
