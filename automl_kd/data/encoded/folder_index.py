"""The images of a folder, listed once: the index is kept and holds as long as no folder that was listed has changed.

A folder's times change when a name in it is added, removed or replaced. A change within the file system's resolution of
time would not show, so an index is kept only if the last change of every folder was well before it was listed.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from automl_kd.data.encoded.encoded_set import EncodedSet
from automl_kd.data.encoded.index_file import load_index, save_index
from automl_kd.data.encoded.ranges import WHOLE_FILE, EncodedImages, NumberArray
from automl_kd.data.encoded.scan import ScanProgress
from automl_kd.data.images.layout import FolderLayout, Kind, find_layout
from automl_kd.data.images.listing import Listing, images_below, loose, name_listing_errors, subfolders
from automl_kd.data.kept import ground
from automl_kd.data.source import counted
from automl_kd.errors import DataError

Classes = Mapping[str, Listing]
FolderTimes = list[tuple[str, int, int, int]]  # path, time of its last change, of its attributes', inode

INDEX_VERSION = 1  # raised when the same folder begins to give another index

INDEXED_FROM = 1000
"""Images below which no index is kept: listing them takes no longer than looking for it."""

SETTLED_NS = 2 * 10**9
"""The coarsest resolution of time of a file system in use."""


def index_folder(path: Path, root: Path, notify: ScanProgress = lambda _done, _of: None) -> EncodedSet:
    """The classes and splits below `path`; the index of many images is kept below `root`.

    `DataError` if the folder is missing, or its subfolders are no classes and splits.
    """
    with name_listing_errors(path):
        there = path.is_dir()
    if not there:
        raise DataError(f"no folder {path}; give the path of a folder with one subfolder of images for each class")
    kept = index_path(path, root, "folder")
    if (known := recall_index(kept)) is not None:
        return known
    start = time.time_ns()
    found, folders = list_classes(path, notify)
    if len(found.images) > INDEXED_FROM:
        keep_index(kept, found, folders, start)
    return found


def index_path(path: Path, root: Path, form: str) -> Path:
    """Where the index of what lies at `path` is kept."""
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]
    return ground(root) / ".encoded" / f"{form}-{name}.index"


def recall_index(kept: Path) -> EncodedSet | None:
    """The index that is kept, if it is whole and no folder has changed since."""
    if (loaded := load_index(kept)) is None:
        return None
    images, about = loaded
    with suppress(OSError, KeyError, TypeError, ValueError):
        folders = [(name, *rest) for name, *rest in about["folders"]]
        if about["version"] == INDEX_VERSION and folders == folder_times(name for name, *_ in folders):
            return EncodedSet.of(images, about)
    return None


def keep_index(kept: Path, found: EncodedSet, folders: Iterable[Path], start: int) -> None:
    """`start`: when the listing began, in nanoseconds."""
    with suppress(OSError):  # the next process lists again
        times = folder_times(map(str, folders))
        if all(max(changed, attributes) < start - SETTLED_NS for _, changed, attributes, _ in times):
            about: dict[str, Any] = {**found.about(), "version": INDEX_VERSION, "folders": times}
            save_index(kept, found.images, about)


def folder_times(folders: Iterable[str]) -> FolderTimes:
    found = [(name, os.stat(name)) for name in folders]  # noqa: PTH116 - a path for each would take longer
    return [(name, status.st_mtime_ns, status.st_ctime_ns, status.st_ino) for name, status in found]


def list_classes(path: Path, notify: ScanProgress = lambda _done, _of: None) -> tuple[EncodedSet, list[Path]]:
    """What lies below `path` now, and the folders that were listed."""
    layout = find_layout(path)
    folders = {kind: {name: top / name for name in subfolders(top)} for kind, top in layout.tops.items()}
    found = list_images(folders, notify)
    require_known(layout, found)
    beside = {name: images_below(layout.path / name) for name in layout.beside}
    passed_over = passed_over_in(layout, found, beside)
    names = tuple(found["training"])
    if not any(listing.files for listing in found["training"].values()):
        raise DataError(
            f"{layout.tops['training']} has no class subfolder with images in it"
            f"{f' (passed over: {counted(passed_over)})' if passed_over else ''}; put each class's images into one of "
            "its own"
        )
    listings = [(names.index(name), one) for classes in found.values() for name, one in classes.items()]
    labels = np.repeat([label for label, _ in listings], [len(one.files) for _, one in listings])
    made: dict[str, str] = {kind: f"{top.relative_to(path)}/".removeprefix("./") for kind, top in layout.tops.items()}
    above = [one for top in layout.tops.values() for one in (top, *top.parents) if one.is_relative_to(path)]
    walked = [folder for listing in (*(one for _, one in listings), *beside.values()) for folder in listing.folders]
    indexed = EncodedSet(
        images=whole_files([file for _, one in listings for file in one.files], labels),
        counts={kind: sum(len(one.files) for one in classes.values()) for kind, classes in found.items()},
        class_names=names,
        made=made,
        passed_over=passed_over,
    )
    return indexed, [*dict.fromkeys(above), *walked]


def list_images(folders: Mapping[Kind, Mapping[str, Path]], notify: ScanProgress) -> dict[Kind, dict[str, Listing]]:
    done, of = 0, sum(map(len, folders.values()))
    found: dict[Kind, dict[str, Listing]] = {}
    for kind, classes in folders.items():
        found[kind] = {}
        for name, folder in classes.items():
            found[kind][name] = images_below(folder)
            done += 1
            notify(done, of)
    return found


def whole_files(paths: Sequence[str], labels: NumberArray) -> EncodedImages:
    """Images each of which is all of the file at an absolute path."""
    spelt = np.frombuffer(os.fsencode("\0".join([*paths, ""])), dtype=np.uint8)
    marks = np.flatnonzero(spelt == 0)
    count = np.arange(len(paths))
    return EncodedImages(
        names=spelt[spelt != 0],
        ends=(marks - count).astype(np.int64),
        file=count.astype(np.int32),
        offset=np.zeros(len(paths), dtype=np.int64),
        length=np.full(len(paths), WHOLE_FILE, dtype=np.int64),
        labels=np.asarray(labels, dtype=np.int64),
    )


def require_known(layout: FolderLayout, found: Mapping[Kind, Classes]) -> None:
    """Refuse a class that only another split than training has."""
    for kind, classes in found.items():
        if strange := set(classes) - set(found["training"]):
            raise DataError(
                f"{layout.tops[kind]} has a class {min(strange)!r} that {layout.tops['training'].name}/ has not; give "
                "all of them the same class subfolders"
            )


def passed_over_in(layout: FolderLayout, found: Mapping[Kind, Classes], beside: Classes) -> dict[str, int]:
    """How many files were not read, by suffix or in words, the most first."""
    whole: Counter[str] = Counter({f"files in {name}/": len(one.files) for name, one in beside.items()})
    for kind, classes in found.items():
        whole.update({f"{what} beside the class folders": n for what, n in loose(layout.tops[kind]).items()})
        for one in classes.values():
            whole.update(one.passed_over)
    return {what: count for what, count in whole.most_common() if count}
