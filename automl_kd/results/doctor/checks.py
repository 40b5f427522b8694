"""The checks of a results folder, one function each, and the fix for each finding."""

from __future__ import annotations

import errno
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from automl_kd import files, storage
from automl_kd.errors import FileError, ResultError
from automl_kd.results.doctor.aside import (
    DAMAGED_FOLDER,
    FolderFault,
    describe_reason,
    inside,
    leavings,
    move_aside,
    note_damage,
    set_aside,
)
from automl_kd.results.store import parquet, soundness
from automl_kd.results.store.folder import read_experiment_record, read_finals
from automl_kd.results.store.row import CURVE_SCHEMA, ROW_SCHEMA, SCORE_SCHEMA
from automl_kd.results.store.table import IDENTITY, ResultTable, is_loose

CHECKED_TABLES = {
    "rows": (ROW_SCHEMA, IDENTITY["rows"]),
    "curves": (CURVE_SCHEMA, IDENTITY["curves"]),
    "scores": (SCORE_SCHEMA, ("architecture_id", "proxy")),
}
CHECKED_RECORDS = {"experiment.json": read_experiment_record, "finals.json": read_finals}
MAX_CHECKED_BYTES = 2**30
"""Bytes of a journal: some millions of proposals."""

STUDENT = ("student.pt", "student_best.pt", "student.json")
"""The files that a complete trial saves."""

SHOWN_TRIALS = 3

MANY_LOOSE_FILES = 100
"""So many small files, and reading becomes slow."""


def examine(folder: Path) -> Iterator[FolderFault]:
    """All findings in the folder of an experiment, or of a teacher. Each is as of the moment it is asked for."""
    yield from scratch_files(folder)
    yield from tune_folders(folder)
    yield from damaged_records(folder)
    yield from damaged_journal(folder)
    yield from damaged_parents(folder)
    yield from damaged_tables(folder)
    yield from damaged_weights(folder)
    if folder.parent.name == "teachers":
        yield from lost_teacher(folder)
    elif not any(True for _ in damaged_tables(folder)):
        yield from incomplete_trials(folder)
        yield from unfinished_trials(folder)
        yield from trials_without_files(folder)
        yield from loose_files(folder)


def scratch_files(folder: Path) -> Iterator[FolderFault]:
    """What a writer that was killed left. Other names that begin with "_" are of objects and profiles."""
    for path in inside(folder, "**/_*"):
        if path.is_file() and files.is_scratch(path):
            yield FolderFault(
                what=f"{path} is the scratch file of a writer that was killed",
                fix="--repair removes it",
                done="removed",
                repair=lambda path=path: path.unlink(missing_ok=True),  # type: ignore[misc]
                fault=False,
                scratch=True,
            )


def tune_folders(folder: Path) -> Iterator[FolderFault]:
    for path in sorted(folder.glob("tune-*")):
        yield FolderFault(
            what=f"{path} is a folder that Ray Tune left when it was killed",
            fix="--repair removes it, and so does the next run",
            done="removed",
            repair=lambda path=path: shutil.rmtree(path, ignore_errors=True),  # type: ignore[misc]
            fault=False,
            scratch=True,
        )


def damaged_records(folder: Path) -> Iterator[FolderFault]:
    """JSON that cannot be read, or holds something else: the experiment, its finals, the model cards of students."""
    for path in inside(folder, "**/*.json"):
        try:
            files.read_json(path)
            if path.parent == folder and path.name in CHECKED_RECORDS:
                CHECKED_RECORDS[path.name](folder)
        except FileError as error:
            # A model card is written again only with its student, so its trial is set aside as a whole.
            yield set_aside(folder, path, f"cannot be read as JSON ({error.strerror})")
        except ResultError as error:
            yield set_aside(folder, path, describe_reason(error, path))


def damaged_journal(folder: Path) -> Iterator[FolderFault]:
    path = folder / "proposals.jsonl"
    if not path.exists():
        return
    try:
        content = files.read_bytes(path, limit=MAX_CHECKED_BYTES)
    except FileError as error:
        yield set_aside(folder, path, f"cannot be read ({error.strerror})")
        return
    torn = content[content.rfind(b"\n") + 1 :]
    lines = content.splitlines()[: -1 if torn else None]
    sound = next((place for place, line in enumerate(lines) if not is_point(line)), len(lines))
    if sound < len(lines):
        yield FolderFault(
            what=f"{path} is damaged in line {sound + 1} of {len(lines)}",
            fix=f"--repair keeps the {sound} proposals before it; the search makes the others again",
            done=f"moved to {DAMAGED_FOLDER}/, the {sound} proposals before it kept",
            repair=lambda: cut_journal(folder, sound),
        )
    elif torn:
        yield FolderFault(
            what=f"{path} ends with a torn line",
            fix="--repair cuts it off, and so does the next run",
            done="cut off: nothing had been done about that proposal yet",
            repair=lambda: storage.write(path, content[: len(content) - len(torn)].decode()),
            fault=False,
            scratch=True,
        )


def is_point(line: bytes | str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def damaged_parents(folder: Path) -> Iterator[FolderFault]:
    """What students began with, which rows hold as well: only what had no row yet is trained anew."""
    path = folder / "parents.jsonl"
    wrong = [place for place, line in enumerate(files.whole_lines(path), start=1) if not is_point(line)]
    if wrong:
        yield set_aside(folder, path, f"cannot be read in line {wrong[0]}")


def cut_journal(folder: Path, sound: int) -> None:
    path = folder / "proposals.jsonl"
    kept = path.read_bytes().splitlines(keepends=True)[:sound]
    move_aside(folder, path, f"line {sound + 1} cannot be read")
    storage.write(path, b"".join(kept).decode())


def damaged_tables(folder: Path) -> Iterator[FolderFault]:
    """Files of rows, curves and scores that cannot be read, and rows in others that cannot be ours."""
    for kind, (schema, identity) in CHECKED_TABLES.items():
        for path in [one for one in inside(folder, f"{kind}/**/*.parquet") if one.name[0] not in "_."]:
            try:
                table = parquet.load_parquet(path, schema, identity)
            except FileNotFoundError:
                continue  # folded meanwhile
            except ResultError as error:
                yield set_aside(folder, path, describe_reason(error, path))
                continue
            if wrong := list(soundness.faults(table, kind)):
                yield unsound_rows(folder, path, table, wrong)


def unsound_rows(folder: Path, path: Path, table: pa.Table, wrong: list[soundness.Fault]) -> FolderFault:
    """Some rows of a file: they are set aside, and the others stay."""
    masks = [mask for mask, _ in wrong]
    bad = np.logical_or.reduce(masks)
    what = f"{path} has {bad.sum()} of {len(table)} rows {' or '.join(words for _, words in wrong)}"

    def repair() -> None:
        note_damage(folder, str(path.relative_to(folder)), what)
        ResultTable(folder).part(path, table, bad, folder / DAMAGED_FOLDER)

    return FolderFault(
        what=what,
        fix=f"--repair moves them to {DAMAGED_FOLDER}/, and the same search command makes them again",
        done=f"moved to {DAMAGED_FOLDER}/; the same search command makes them again",
        repair=repair,
    )


def damaged_weights(folder: Path) -> Iterator[FolderFault]:
    """Checkpoints and weights whose archive is cut short or whose content does not fit its check sums."""
    for path in inside(folder, "**/*.pt"):
        if (reason := fault_of_archive(path)) is not None:
            yield set_aside(folder, path, reason)


def fault_of_archive(path: Path) -> str | None:
    try:
        with files.open_file(path) as file, zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOENT:
            return None  # removed meanwhile
        return f"cannot be read ({error.strerror if isinstance(error, FileError) else error})"
    return None if broken is None else f"is damaged in {broken}"


def lost_teacher(folder: Path) -> Iterator[FolderFault]:
    """A teacher with a model card, so trained to its end, whose weights are gone."""

    def repair() -> None:
        for path in leavings(folder):
            move_aside(folder, path, "the weights of this teacher are gone")

    if (folder / "student.json").exists() and not (folder / "student.pt").exists():
        yield FolderFault(
            what=f"{folder} is a trained teacher without its weights",
            fix="--repair prepares it to be trained again by the next search that needs it",
            done=f"the rest moved to {DAMAGED_FOLDER}/; the next search that needs it trains it again",
            repair=repair,
        )


def incomplete_trials(folder: Path) -> Iterator[FolderFault]:
    """Trials of which one part is there and another is not: to the table, they are set aside as a whole."""
    table = ResultTable(folder)
    rows, curves = table.read(), table.curves()
    ended = rows[rows["status"].isin(["complete", "stopped"]) & (rows["epochs_done"].fillna(0) > 0)]
    with_curve = set(zip(curves["trial_kind"].astype(str), curves["key"], strict=True))
    with_row = set(zip(rows["trial_kind"].astype(str), rows["key"], strict=True))
    for trial_kind, key in sorted(set(zip(ended["trial_kind"].astype(str), ended["key"], strict=True)) - with_curve):
        yield lost_trial(folder, trial_kind, key, f"{trial_kind} trial {key} has a row and no curve", files=False)
    for trial_kind, key in sorted(with_curve - with_row):
        yield lost_trial(folder, trial_kind, key, f"{trial_kind} trial {key} has a curve and no row", files=False)
    for trial_kind, key in without_student(folder, ended):
        yield lost_trial(folder, trial_kind, key, f"{trial_kind} trial {key} has lost its weights", files=True)


def unfinished_trials(folder: Path) -> Iterator[FolderFault]:
    """Folders of trials without a row: nothing is wrong with them, if their search is to go on."""
    recorded = set(ResultTable(folder).read()["key"])
    begun = [path.parent.name for path in inside(folder, "trials/*/checkpoint.pt")]
    if unfinished := [key for key in begun if key not in recorded]:
        yield FolderFault(
            what=f"{folder}: no row is there of {', '.join(unfinished)}, which were begun",
            fix="the same search command continues them",
            done="left alone: the same search command continues them",
            repair=None,
            fault=False,
        )


def trials_without_files(folder: Path) -> Iterator[FolderFault]:
    """Complete trials of which nothing is left but rows and curves: somebody has deleted their folders."""
    rows = ResultTable(folder).read()
    complete = rows[(rows["status"] == "complete") & (rows["trial_kind"] != "teacher")]
    keys = list(dict.fromkeys(complete["key"]))
    gone = [key for key in keys if not leavings(folder / "trials" / key) and not lacks_student(folder, key)]
    if gone:
        shown = ", ".join(gone[:SHOWN_TRIALS]) + (", ..." if len(gone) > SHOWN_TRIALS else "")
        yield FolderFault(
            what=f"{folder}: {len(gone)} of {len(keys)} complete trials have lost their folders in trials/ ({shown})",
            fix="their rows and curves count as before, and their weights are gone for good",
            done="left alone: their rows and curves count as before, and their weights are gone for good",
            repair=None,
            fault=False,
        )


def without_student(folder: Path, ended: pd.DataFrame) -> list[tuple[str, str]]:
    """Complete trials of which files are left, or were set aside, but no student."""
    complete = ended[ended["status"] == "complete"]
    named = sorted(set(zip(complete["trial_kind"].astype(str), complete["key"], strict=True)))
    return [(trial_kind, key) for trial_kind, key in named if trial_kind != "teacher" and lacks_student(folder, key)]


def lacks_student(folder: Path, key: str) -> bool:
    """Whether a part of it is missing. Trials whose folder somebody deleted to save space are at rest."""
    trial = folder / "trials" / key
    torn = [name for name in STUDENT if (folder / DAMAGED_FOLDER / "trials" / key / name).exists()]
    half = (trial / "student.json").exists() != (trial / "student.pt").exists()
    return half or any(not (trial / name).exists() for name in torn)


def lost_trial(folder: Path, trial_kind: str, key: str, what: str, *, files: bool) -> FolderFault:
    def repair() -> None:
        note_damage(folder, f"records of {trial_kind} trial {key}", what)
        ResultTable(folder).set_aside(trial_kind, key, folder / DAMAGED_FOLDER)
        for path in leavings(folder / "trials" / key) if files else []:
            move_aside(folder, path, what)

    return FolderFault(
        what=f"{folder}: {what}",
        fix="--repair sets its records aside, and the same search command makes them again",
        done=f"its records moved to {DAMAGED_FOLDER}/; the same search command makes them again",
        repair=repair,
    )


def loose_files(folder: Path) -> Iterator[FolderFault]:
    """Many small files, and trials that are in two of them: read all the same, but slowly."""
    table = ResultTable(folder)
    loose = [
        path for kind in ("rows", "curves") for path in inside(folder, f"{kind}/*/[!_]*.parquet") if is_loose(path)
    ]
    parts = [len(inside(folder, f"{kind}/part-*.parquet")) for kind in ("rows", "curves")]
    if len(loose) >= MANY_LOOSE_FILES or max(parts) > 1 or (loose and max(parts)):
        yield FolderFault(
            what=f"{folder} has {len(loose)} loose files and {sum(parts)} parts, in which a trial may be twice",
            fix="--repair gathers them into one part, in which each is once; readers count each once anyway",
            done="gathered into one part, in which each is once",
            repair=table.fold,
            fault=False,
        )
