"""The folders of an archive: experiments, and tables of scores beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from automl_kd import storage
from automl_kd.errors import ResultError
from automl_kd.results.published import is_stand_in
from automl_kd.results.store.folder import fetch_folder, read_experiment_record
from automl_kd.results.store.parquet import files

HOLD_RESULTS = ("rows", "scores")
FOLDER_DEPTHS = ("*", "*/*", "*/*/*")


@dataclass(frozen=True)
class ArchiveFolder:
    """A folder that holds rows, scores or both. `record`: its experiment, empty if it has none."""

    path: Path

    @cached_property
    def record(self) -> Mapping[str, Any]:
        return read_experiment_record(self.path) if (self.path / "experiment.json").exists() else {}

    @property
    def stand_in(self) -> bool:
        return is_stand_in(self.record)

    @property
    def images(self) -> str:
        """What tells its images from others: their digest, or the name of the set; empty where neither is known."""
        data = self.record.get("data") or {}
        return str(data.get("digest") or data.get("name") or "")

    @property
    def full_epochs(self) -> int:
        """Epochs of a training in full, as its experiment says; 0 if it has none."""
        finalists, recipe = self.record.get("finalists") or {}, self.record.get("recipe") or {}
        return int(finalists.get("epochs") or recipe.get("epochs") or 0)


def archive_folders(places: Sequence[Path | str]) -> list[ArchiveFolder]:
    """All folders with results in `places`, each an experiment's or one that holds several; none twice.

    Fetched from a bucket. `ResultError` for a place without any.
    """
    found: dict[Path, ArchiveFolder] = {}
    for place in places:
        path = storage.local_path(place)
        fetch_folder(path)
        if not path.is_dir():
            raise ResultError(f"there is no folder {path}; give the folder of an experiment, or one that holds several")
        here = folders_below(path)
        if not here:
            raise ResultError(
                f"no student is in {path}, neither trained nor scored; give the folder of an experiment (it holds "
                "rows/ or scores/)"
            )
        found |= {one.resolve(): ArchiveFolder(one) for one in here}
    return list(found.values())


def folders_below(path: Path) -> list[Path]:
    """`path` itself if it holds results; unless it holds rows, with those of the first depth that has some."""
    own = [path] if holds_results(path) else []
    if (path / "rows").is_dir():
        return own
    below: list[Path] = []
    for depth in FOLDER_DEPTHS:
        below = below or [one for one in sorted(path.glob(depth)) if one.is_dir() and holds_results(one)]
    return own + below


def holds_results(folder: Path) -> bool:
    return (folder / "rows").is_dir() or bool(files(folder / "scores"))
