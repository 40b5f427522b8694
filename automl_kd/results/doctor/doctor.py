"""Checks an old or damaged results folder, and repairs it.

No measurement is deleted: damaged files are moved into the folder `damaged/` with a note, and the same search command
makes them again. Only files that no reader opens are removed: scratch files of killed writers, and Ray Tune's folders.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from automl_kd import storage
from automl_kd.errors import ResultError
from automl_kd.results.doctor import checks
from automl_kd.results.doctor.aside import DAMAGED_FOLDER
from automl_kd.results.store.folder import in_use, lock, owner_of

OURS = ("experiment.json", "proposals.jsonl", "rows", "curves", "scores", "trials", "lock")
"""What the folder of an experiment, or of scores, holds at least one of."""


class Diagnosis(NamedTuple):
    """`lines`: a sentence for each finding. `faults`: how many of them remain that readers or the search trip over."""

    lines: list[str]
    faults: int


def diagnose(path: Path, *, repair: bool = False) -> Diagnosis:
    """Check the folder of an experiment, or a root that holds several and their teachers; `repair` fixes the findings.

    A folder that another process is writing to is looked at only. `ResultError` if `path` is neither.
    """
    storage.pull(path, weights=True)
    lines: list[str] = []
    faults = 0
    for folder in folders_in(path):
        if in_use(folder):
            found = [one for one in checks.examine(folder) if not one.scratch]
            lines.append(
                f"{folder}: in use by process {owner_of(folder)}"
                + ("; not repaired, try again later" if repair else "")
            )
            lines += [f"{one.what}" for one in found]
            faults += sum(one.fault for one in found)
        elif repair and any(one.repair for one in checks.examine(folder)):
            with lock(folder):
                lines += repair_findings(folder)
                storage.reflect(folder)
            faults += sum(one.fault for one in checks.examine(folder))
        else:
            found = list(checks.examine(folder))
            lines += [f"{one.what}; {one.fix}" for one in found]
            faults += sum(one.fault for one in found)
    return Diagnosis(lines, faults)


def repair_findings(folder: Path) -> list[str]:
    """Fix one finding after another, then check again: a file moved aside may leave something else incomplete."""
    lines: list[str] = []
    seen: set[str] = set()
    while new := [one for one in checks.examine(folder) if one.what not in seen]:
        for one in new:
            seen.add(one.what)
            if one.repair is not None:
                one.repair()
            lines.append(f"{one.what}; {one.done}")
    return lines


def folders_in(path: Path) -> list[Path]:
    """`path` itself if an experiment is in it, else every experiment and teacher in it."""
    if not path.is_dir():
        raise ResultError(f"there is no folder {path}; give the folder of an experiment, or one that holds several")
    if looks_ours(path):
        return [path]
    found = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and looks_ours(folder)]
    found += teachers_in(path / "teachers" if (path / "teachers").is_dir() else path)
    if not found:
        raise ResultError(f"no results are in {path}; give the folder of an experiment (it holds experiment.json)")
    return found


def looks_ours(folder: Path) -> bool:
    return any((folder / name).exists() for name in OURS) and not is_teacher(folder)


def is_teacher(folder: Path) -> bool:
    return folder.parent.name == "teachers"


def teachers_in(folder: Path) -> Iterator[Path]:
    """Folders of teachers, which are named by the keys of their trainings."""
    if folder.name == "teachers":
        yield from sorted(one for one in folder.iterdir() if one.is_dir() and one.name != DAMAGED_FOLDER)
