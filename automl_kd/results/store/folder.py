"""The folder of one experiment: whose it is, and that only one process writes to it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from automl_kd import files, spec_names, storage
from automl_kd.errors import FileError, ResultError
from automl_kd.results.store.account import changes, read_account, write_account
from automl_kd.storage.content_hash import by_content

if TYPE_CHECKING:
    import pandas as pd

MAY_CHANGE = {"trial", "teacher_cache", "loader", "export", "finalists", "comparison", "published", "expected_images"}
"""Sections and fields that a later session may change: they have no effect on what was measured."""


SECTIONS = ("search", "finalists", "comparison", "recipe", "teacher", "data")

DISK_SPACE = 32 * 2**20
"""Free bytes without which a run is not begun: a few checkpoints of the larger students fill as much."""


Upgrade = Callable[[Mapping[str, Any], str], Mapping[str, Any]]
"""From a record of an earlier version, and where it lies, to one with what was added since at its default."""


def keep_record(record: Mapping[str, Any], _where: str) -> Mapping[str, Any]:
    return record


def check_folder(
    folder: Path, record: Mapping[str, Any], upgrade: Upgrade = keep_record, account: Mapping[str, Any] | None = None
) -> None:
    """Refuse what could not be written to, is in use or holds something else, without leaving a trace.

    `account`: of the experiment's images, see `results.store.account`.
    """
    if who := storage.holder(folder):
        raise ResultError(in_use_by(who, folder))
    fetch_folder(folder)
    require_disk_space(require_writable(folder))
    if written_here(folder):
        raise ResultError(in_use_by(f"process {owner_of(folder)}", folder))
    require_same(folder, record, upgrade, account)


def require_storage(folder: Path, *, failed: bool) -> None:
    """Refuse to record a trial where the experiment's folder is gone, as when a file system is no longer mounted.

    `failed`: the trial failed on a file system; if ours is full or read-only, it is not the trial's fault, and ends
    the run before all others fail the same way.
    """
    require_there(folder / "experiment.json")
    if failed:
        require_disk_space(require_writable(folder))


def require_there(path: Path) -> None:
    """Refuse to go on without something that was there when the run began."""
    if not path.exists():
        raise ResultError(f"{path} is not there any more; bring its file system back, and run the same command again")


def require_disk_space(ground: Path) -> None:
    """Refuse a nearly full file system."""
    if (free := shutil.disk_usage(ground).free) < DISK_SPACE:
        raise ResultError(
            f"{ground} has {free / 2**20:.0f} MiB free, and a run needs {DISK_SPACE // 2**20} or more; "
            "make room or give another --out"
        )


def require_writable(folder: Path) -> Path:
    """`folder`, or the nearest of its parents that is there; `ResultError` unless one may write there."""
    ground = next(path for path in (folder, *folder.parents) if path.exists() or path.is_symlink())
    if not ground.is_dir():
        raise ResultError(f"{ground} is not a folder, and results should go to {folder}; give another --out")
    if not os.access(ground, os.W_OK | os.X_OK):
        raise ResultError(f"{ground} may not be written to, and results should go to {folder}; give another --out")
    return ground


def open_folder(
    folder: Path, record: Mapping[str, Any], upgrade: Upgrade = keep_record, account: Mapping[str, Any] | None = None
) -> None:
    """Make the folder of the experiment `record`, or check that it is the one that is there.

    More `search.trials` than before is a continuation, as are the same images and files at another place; any other
    difference is a `ResultError`, and nothing is changed. `account`: of its images, kept beside the record.
    """
    require_same(folder, record, upgrade, account)
    name = data_name(folder, str(record.get("data", {}).get("name", "")))
    storage.write(folder / "experiment.json", json.dumps(record, indent=1))
    if account is not None:
        write_account(folder, account, name)


def data_name(folder: Path, name: str) -> str:
    """What the rows in `folder` call its images, which are called `name` now and may have been moved."""
    if known := read_account(folder).get("known_as"):
        return str(known)
    recorded = read_experiment_record(folder) if (folder / "experiment.json").exists() else {}
    return str(recorded.get("data", {}).get("name", name))


def require_same(
    folder: Path, record: Mapping[str, Any], upgrade: Upgrade, account: Mapping[str, Any] | None = None
) -> None:
    if (folder / "experiment.json").exists():
        old = comparable(upgrade(read_experiment_record(folder), str(folder / "experiment.json")))
        difference = first_difference(old, comparable(record))
        if difference.startswith("its data.digest") and account is not None:
            raise ResultError(
                f"the images of the experiment in {folder} have changed: {changes(read_account(folder), account)}; "
                "bring them back, or give this experiment another name or --out"
            )
        if difference:
            raise ResultError(
                f"{folder} holds another experiment: {difference}; give this one another name or --out, or delete it"
            )
    # A run that was killed while it made the folder leaves its lock, and a file that begins with an underscore.
    # `automl-kd doctor` moves a record aside that cannot be read; what it left of the experiment goes on as this one.
    elif (
        folder.exists()
        and not (folder / "damaged" / "experiment.json").exists()
        and any(child.name != "lock" and child.name[0] != "_" for child in folder.iterdir())
    ):
        raise ResultError(f"{folder} is not empty and holds no experiment; give another --out")


def write_finals(folder: Path, final: Iterable[tuple[str, str]], choice: Iterable[tuple[str, str]] = ()) -> None:
    """Note which trials, as (role, key), the comparison at the end is between, and by which its methods were tuned."""
    finals = {"final": [list(one) for one in final], "choice": [list(one) for one in choice]}
    storage.write(folder / "finals.json", json.dumps({kind: keys for kind, keys in finals.items() if keys}))


def of_this_comparison(folder: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` without finals, or trials of a choice, of earlier comparisons: others may have been asked for since."""
    if not (folder / "finals.json").exists():
        return rows
    finals = read_finals(folder)
    current = {(kind, *one) for kind, keys in finals.items() for one in keys}
    rows_named = zip(rows["trial_kind"], rows["role"], rows["key"], strict=True)
    kept = [kind not in finals or (kind, role, key) in current for kind, role, key in rows_named]
    return rows[np.array(kept, dtype=bool)]


def read_finals(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """The trials of `finals.json` by trial_kind; `ResultError` if it is damaged."""
    path = folder / "finals.json"
    try:
        record = files.read_json(path)
        finals = record if isinstance(record, dict) else {"final": record}  # a list in the first release
        return {kind: [(str(role), str(key)) for role, key in keys] for kind, keys in finals.items()}
    except (FileError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, FileError) else "it does not list roles and keys"
        raise ResultError(
            f"{path} cannot be read ({reason}); 'automl-kd doctor {folder} --repair' moves it aside"
        ) from error


def read_experiment_record(folder: Path) -> dict[str, Any]:
    """The experiment of a folder, under today's names; `ResultError` if it is damaged, or does not look like one."""
    path = folder / "experiment.json"
    try:
        record: Any = files.read_json(path)
        record = spec_names.current_experiment(record) if isinstance(record, Mapping) else record
        reason = find_record_fault(record)
    except FileError as error:
        reason = str(error.strerror)
    if reason:
        raise ResultError(f"{path} cannot be read ({reason}); is {folder} the folder of an experiment?")
    return dict(record)


def find_record_fault(record: Any) -> str:
    """What keeps a record from being an experiment's, as far as readers take it apart; empty if nothing does."""
    if not isinstance(record, Mapping):
        return "it holds no object"
    if not isinstance(record.get("name"), str):
        return "its name is no text" if "name" in record else "it has no name"
    for section in SECTIONS:
        if not isinstance(record.get(section) or {}, Mapping):
            return f"its {section} is no section"
    comparison = record.get("comparison") or {}
    methods = comparison.get("methods") or []
    named = isinstance(methods, list) and all(isinstance(one, Mapping) and "name" in one for one in methods)
    if not named or (methods and comparison.get("reference") not in [one["name"] for one in methods]):
        return "its methods and their reference do not fit together"
    return ""


def comparable(record: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two records the same experiment: files count by their content, wherever they lie."""
    kept = {key: without_places(value) for key, value in record.items() if key not in MAY_CHANGE}
    kept["search"] = {key: value for key, value in dict(kept.get("search", {})).items() if key != "trials"}
    if (data := dict(kept.get("data", {}))).get("digest"):  # which says what they are, wherever they lie
        kept["data"] = {key: value for key, value in data.items() if key not in {"name", "unlabelled"}}
    if isinstance(teacher := kept.get("teacher"), dict):
        others = [without_files(one) for one in teacher.get("others") or ()]
        kept["teacher"] = without_files({**teacher, **({"others": others} if others else {})})
    return kept


def without_places(value: Any) -> Any:
    """Nested plain values in which pinned files are named by their content alone."""
    if isinstance(value, Mapping):
        return {key: without_places(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(one) for one in value]
    return by_content(value) if isinstance(value, str) else value


def without_files(teacher: Mapping[str, Any]) -> dict[str, Any]:
    """A teacher's record without the files of which it holds what they say: its digest and its classes."""
    files_of = {"checkpoint", "class_names"} if teacher.get("digest") else ()
    return {key: value for key, value in teacher.items() if key not in files_of}


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> str:
    """The first key in which two records differ, with both values; empty if none."""
    for key in [*new, *(key for key in old if key not in new)]:
        here, there = new.get(key), old.get(key)
        if here == there:
            continue
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            return first_difference(there, here, f"{prefix}{key}.")
        return f"its {prefix}{key} is {json.dumps(there)}, here it is {json.dumps(here)}"
    return ""


def in_use(folder: Path) -> bool:
    """Whether another process is writing to a folder just now, here or on another machine."""
    return written_here(folder) or bool(storage.holder(folder))


def written_here(folder: Path) -> bool:
    """Whether another process on this machine is."""
    try:
        with files.open_file(folder / "lock") as file:
            return not files.try_lock(file)
    except OSError:
        return False


def owner_of(folder: Path) -> str:
    """The id of the process that holds the lock, as written in it."""
    try:
        return files.read_text(folder / "lock", limit=1000).strip() or "unknown"
    except FileError:
        return "unknown"


@contextmanager
def lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Be the only writer of a folder. The system releases the lock when the process ends, however it ends.

    `wait`: queue up behind another holder instead of raising `ResultError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "lock").exists():
        files.require_file(folder / "lock")
    with (folder / "lock").open("a+", encoding="utf-8") as file:
        if wait:
            files.wait_lock(file)
        elif not files.try_lock(file):
            raise ResultError(in_use_by(f"process {owner_of(folder)}", folder))
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        with storage.leased(folder, wait=wait):
            yield


def in_use_by(who: str, folder: Path) -> str:
    return f"{who} is writing to {folder}; wait for it, or give this run another name or --out"


def fetch_folder(folder: Path) -> None:
    """Bring a folder that stands for one in a bucket up to date, except where a run on this machine keeps it so."""
    busy = [one for one in (folder, *folder.glob("*/")) if written_here(one)]
    storage.pull(folder, wanted=lambda path: not any(path.is_relative_to(one) for one in busy))
