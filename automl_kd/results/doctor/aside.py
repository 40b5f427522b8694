"""One finding of the doctor, and the moving aside of what is damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from automl_kd import files
from automl_kd.errors import ResultError

DAMAGED_FOLDER = "damaged"


@dataclass(frozen=True)
class FolderFault:
    """`what` was found, `fix`: what is to be done about it, `done`: what `repair` has done.

    `repair` is None where nothing need be done. `fault`: readers or the search trip over it; other findings are only
    untidy. `scratch`: it may belong to a process that is at work.
    """

    what: str
    fix: str
    done: str
    repair: Callable[[], None] | None
    fault: bool = True
    scratch: bool = False


def inside(folder: Path, pattern: str) -> list[Path]:
    """Paths in a folder, without those that were moved aside and those of Ray Tune."""
    found = (path for path in folder.glob(pattern) if not is_moved_aside(path.relative_to(folder)))
    return sorted(found)


def is_moved_aside(path: Path) -> bool:
    return path.parts[0] == DAMAGED_FOLDER or path.parts[0].startswith("tune-")


def leavings(folder: Path) -> list[Path]:
    """What a training leaves in its folder."""
    return [path for path in sorted(folder.glob("*")) if path.is_file() and path.name != "lock"]


def set_aside(folder: Path, path: Path, reason: str) -> FolderFault:
    return FolderFault(
        what=f"{path} {reason}",
        fix=f"--repair moves it to {DAMAGED_FOLDER}/, and the same search command makes it again",
        done=f"moved to {DAMAGED_FOLDER}/; the same search command makes it again",
        repair=lambda: move_aside(folder, path, reason),
    )


def move_aside(folder: Path, path: Path, reason: str) -> None:
    """Move a file to the same place below `damaged/`, beside what is there already, and note why."""
    target = folder / DAMAGED_FOLDER / path.relative_to(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while target.exists():
        number += 1
        target = target.with_name(f"{path.name}.{number}")
    path.rename(target)
    note_damage(folder, str(target.relative_to(folder / DAMAGED_FOLDER)), reason)


def note_damage(folder: Path, what: str, reason: str) -> None:
    line = " ".join(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {what}: {reason}".split())
    files.append_line(folder / DAMAGED_FOLDER / "notes.txt", line)


def describe_reason(error: ResultError, path: Path) -> str:
    """The reason in an error about a file, without its name and advice."""
    return str(error).partition(";")[0].removeprefix(str(path)).strip()
