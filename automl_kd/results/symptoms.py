"""Everything that can be wrong with a folder of results, one function for each, and what mends it."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from automl_kd import files, storage
from automl_kd.errors import ResultError
from automl_kd.results import parquet
from automl_kd.results.row import CURVE_SCHEMA, ROW_SCHEMA, SCORE_SCHEMA
from automl_kd.results.table import IDENTITY, ResultTable

DAMAGED = "damaged"
TABLES = {
    "rows": (ROW_SCHEMA, IDENTITY["rows"]),
    "curves": (CURVE_SCHEMA, IDENTITY["curves"]),
    "scores": (SCORE_SCHEMA, ("architecture", "proxy")),
}
STUDENT = ("student.pt", "student_best.pt", "student.json")
"""What a complete trial hands over."""

LOOSE = 100
"""So many small files, and reading becomes slow."""


@dataclass(frozen=True)
class Finding:
    """`what` was found, `remedy`: what is to be done about it, `done`: what `mend` has done.

    `mend` is None where nothing need be done. `fault`: readers or the search trip over it; other findings are only
    untidy. `scratch`: it may belong to a process that is at work.
    """

    what: str
    remedy: str
    done: str
    mend: Callable[[], None] | None
    fault: bool = True
    scratch: bool = False


def examine(folder: Path) -> Iterator[Finding]:
    """All findings in the folder of an experiment, or of a teacher. Each is as of the moment it is asked for."""
    yield from scratch_files(folder)
    yield from tune_folders(folder)
    yield from damaged_records(folder)
    yield from damaged_journal(folder)
    yield from damaged_tables(folder)
    yield from damaged_weights(folder)
    if folder.parent.name == "teachers":
        yield from lost_teacher(folder)
    elif not any(True for _ in damaged_tables(folder)):
        yield from incomplete_trials(folder)
        yield from unfinished_trials(folder)
        yield from loose_files(folder)


def scratch_files(folder: Path) -> Iterator[Finding]:
    """What a writer that was killed left: its name begins with "_"."""
    for path in inside(folder, "**/_*"):
        if path.is_file() and path.name != "__init__.py":
            yield Finding(
                what=f"{path} is the scratch file of a writer that was killed",
                remedy="--repair removes it",
                done="removed",
                mend=lambda path=path: path.unlink(missing_ok=True),  # type: ignore[misc]
                fault=False,
                scratch=True,
            )


def tune_folders(folder: Path) -> Iterator[Finding]:
    for path in sorted(folder.glob("tune-*")):
        yield Finding(
            what=f"{path} is a folder that Ray Tune left when it was killed",
            remedy="--repair removes it, and so does the next run",
            done="removed",
            mend=lambda path=path: shutil.rmtree(path, ignore_errors=True),  # type: ignore[misc]
            fault=False,
            scratch=True,
        )


def damaged_records(folder: Path) -> Iterator[Finding]:
    """JSON that cannot be read: the experiment, its finals, the cards of students."""
    for path in inside(folder, "**/*.json"):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            # A card without its student is written again with it; so its trial is set aside as a whole.
            yield set_aside(folder, path, f"cannot be read as JSON ({error})")


def damaged_journal(folder: Path) -> Iterator[Finding]:
    path = folder / "proposals.jsonl"
    if not path.exists():
        return
    content = path.read_bytes()
    torn = content[content.rfind(b"\n") + 1 :]
    lines = content.splitlines()[: -1 if torn else None]
    sound = next((place for place, line in enumerate(lines) if not is_point(line)), len(lines))
    if sound < len(lines):
        yield Finding(
            what=f"{path} is damaged in line {sound + 1} of {len(lines)}",
            remedy=f"--repair keeps the {sound} proposals before it; the search makes the others again",
            done=f"moved to {DAMAGED}/, the {sound} proposals before it kept",
            mend=lambda: cut_journal(folder, sound),
        )
    elif torn:
        yield Finding(
            what=f"{path} ends with a torn line",
            remedy="--repair cuts it off, and so does the next run",
            done="cut off: nothing had been done about that proposal yet",
            mend=lambda: storage.write(path, content[: len(content) - len(torn)].decode()),
            fault=False,
            scratch=True,
        )


def is_point(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def cut_journal(folder: Path, sound: int) -> None:
    path = folder / "proposals.jsonl"
    kept = path.read_bytes().splitlines(keepends=True)[:sound]
    move_aside(folder, path, f"line {sound + 1} cannot be read")
    storage.write(path, b"".join(kept).decode())


def damaged_tables(folder: Path) -> Iterator[Finding]:
    for kind, (schema, identity) in TABLES.items():
        for path in [one for one in inside(folder, f"{kind}/**/*.parquet") if one.name[0] not in "_."]:
            try:
                parquet.load(path, schema, identity)
            except FileNotFoundError:
                continue  # folded meanwhile
            except ResultError as error:
                yield set_aside(folder, path, str(error).partition(";")[0].removeprefix(str(path)).strip())


def damaged_weights(folder: Path) -> Iterator[Finding]:
    """Checkpoints and weights whose archive is cut short or whose content does not fit its check sums."""
    for path in inside(folder, "**/*.pt"):
        if (reason := fault_of_archive(path)) is not None:
            yield set_aside(folder, path, reason)


def fault_of_archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except FileNotFoundError:
        return None
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        return f"cannot be read ({error})"
    return None if broken is None else f"is damaged in {broken}"


def lost_teacher(folder: Path) -> Iterator[Finding]:
    """A teacher whose card says that it was trained to its end, and whose weights are gone."""

    def mend() -> None:
        for path in leavings(folder):
            move_aside(folder, path, "the weights of this teacher are gone")

    if (folder / "student.json").exists() and not (folder / "student.pt").exists():
        yield Finding(
            what=f"{folder} is a trained teacher without its weights",
            remedy="--repair prepares it to be trained again by the next search that needs it",
            done=f"the rest moved to {DAMAGED}/; the next search that needs it trains it again",
            mend=mend,
        )


def incomplete_trials(folder: Path) -> Iterator[Finding]:
    """Trials of which one part is there and another is not: to the table, they are set aside as a whole."""
    table = ResultTable(folder)
    rows, curves = table.read(), table.curves()
    ended = rows[rows["status"].isin(["complete", "stopped"]) & (rows["epochs_done"].fillna(0) > 0)]
    with_curve = set(zip(curves["run"].astype(str), curves["key"], strict=True))
    with_row = set(zip(rows["run"].astype(str), rows["key"], strict=True))
    for run, key in sorted(set(zip(ended["run"].astype(str), ended["key"], strict=True)) - with_curve):
        yield lost_trial(folder, run, key, f"trial {key} of run {run!r} has a row and no curve", files=False)
    for run, key in sorted(with_curve - with_row):
        yield lost_trial(folder, run, key, f"trial {key} of run {run!r} has a curve and no row", files=False)
    for run, key in without_student(folder, ended):
        yield lost_trial(folder, run, key, f"trial {key} of run {run!r} has lost its weights", files=True)


def unfinished_trials(folder: Path) -> Iterator[Finding]:
    """Folders of trials without a row: nothing is wrong with them, if their search is to go on."""
    recorded = set(ResultTable(folder).read()["key"])
    begun = [path.parent.name for path in inside(folder, "trials/*/checkpoint.pt")]
    if unfinished := [key for key in begun if key not in recorded]:
        yield Finding(
            what=f"{folder}: no row is there of {', '.join(unfinished)}, which were begun",
            remedy="the same search command continues them",
            done="left alone: the same search command continues them",
            mend=None,
            fault=False,
        )


def without_student(folder: Path, ended: pd.DataFrame) -> list[tuple[str, str]]:
    """Complete trials of which files are left, or were set aside, but no student."""
    complete = ended[ended["status"] == "complete"]
    named = sorted(set(zip(complete["run"].astype(str), complete["key"], strict=True)))
    return [(run, key) for run, key in named if run != "teacher" and lacks_student(folder, key)]


def lacks_student(folder: Path, key: str) -> bool:
    """Whether a part of it is missing. Trials whose folder somebody deleted to save space are at rest."""
    trial = folder / "trials" / key
    torn = [name for name in STUDENT if (folder / DAMAGED / "trials" / key / name).exists()]
    half = (trial / "student.json").exists() != (trial / "student.pt").exists()
    return half or any(not (trial / name).exists() for name in torn)


def lost_trial(folder: Path, run: str, key: str, what: str, *, files: bool) -> Finding:
    def mend() -> None:
        note(folder, f"records of trial {key}, run {run}", what)
        ResultTable(folder).set_aside(run, key, folder / DAMAGED)
        for path in leavings(folder / "trials" / key) if files else []:
            move_aside(folder, path, what)

    return Finding(
        what=f"{folder}: {what}",
        remedy="--repair sets its records aside, and the same search command makes them again",
        done=f"its records moved to {DAMAGED}/; the same search command makes them again",
        mend=mend,
    )


def loose_files(folder: Path) -> Iterator[Finding]:
    """Many small files, and trials that are in two of them: read all the same, but slowly."""
    table = ResultTable(folder)
    loose = [path for kind in ("rows", "curves") for path in inside(folder, f"{kind}/run=*/[!_]*.parquet")]
    parts = [len(inside(folder, f"{kind}/part-*.parquet")) for kind in ("rows", "curves")]
    if len(loose) >= LOOSE or max(parts) > 1 or (loose and max(parts)):
        yield Finding(
            what=f"{folder} has {len(loose)} loose files and {sum(parts)} parts, in which a trial may be twice",
            remedy="--repair gathers them into one part, in which each is once; readers count each once anyway",
            done="gathered into one part, in which each is once",
            mend=table.fold,
            fault=False,
        )


def inside(folder: Path, pattern: str) -> list[Path]:
    """Paths in a folder, without those that were moved aside and those of Ray Tune."""
    found = (path for path in folder.glob(pattern) if not leads_aside(path.relative_to(folder)))
    return sorted(found)


def leads_aside(path: Path) -> bool:
    return path.parts[0] == DAMAGED or path.parts[0].startswith("tune-")


def leavings(folder: Path) -> list[Path]:
    """What a training leaves in its folder."""
    return [path for path in sorted(folder.glob("*")) if path.is_file() and path.name != "lock"]


def set_aside(folder: Path, path: Path, reason: str) -> Finding:
    return Finding(
        what=f"{path} {reason}",
        remedy=f"--repair moves it to {DAMAGED}/, and the same search command makes it again",
        done=f"moved to {DAMAGED}/; the same search command makes it again",
        mend=lambda: move_aside(folder, path, reason),
    )


def move_aside(folder: Path, path: Path, reason: str) -> None:
    """Move a file to the same place below `damaged/`, beside what is there already, and note why."""
    target = folder / DAMAGED / path.relative_to(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while target.exists():
        number += 1
        target = target.with_name(f"{path.name}.{number}")
    path.rename(target)
    note(folder, str(target.relative_to(folder / DAMAGED)), reason)


def note(folder: Path, what: str, reason: str) -> None:
    line = " ".join(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {what}: {reason}".split())
    files.append_line(folder / DAMAGED / "notes.txt", line)
