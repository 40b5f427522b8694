"""`shards:PATH`: tar files in the layout of WebDataset, in train/, val/ and test/, or named after them, or in PATH.

PATH may also be one pattern such as `photos-{000000..000012}.tar`. Consecutive members with one key, which is their
name up to the first dot, are a sample: an image by its suffix, and its label, the text of `.cls` or `label` or `cls` in
`.json`. A file `classes.txt` beside the shards or in PATH names the classes, one in a line; else numbers do.
Shards are scanned once; the index is kept as long as their sizes and times are the same.
"""

from __future__ import annotations

import json
import os
import re
from array import array
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BufferedReader
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from automl_kd import files
from automl_kd.data.account import printable
from automl_kd.data.encoded.encoded_set import EncodedSet, encoded_source
from automl_kd.data.encoded.folder_index import index_path
from automl_kd.data.encoded.index_file import load_index, save_index
from automl_kd.data.encoded.packing import require_few_classes
from automl_kd.data.encoded.ranges import EncodedImages, cannot_read
from automl_kd.data.encoded.scan import ScanProgress
from automl_kd.data.encoded.tar_members import TarMember, tar_members
from automl_kd.data.images.decode import THREADS
from automl_kd.data.images.layout import SPELLINGS, Kind
from automl_kd.data.images.listing import SUFFIXES, name_listing_errors
from automl_kd.data.kept import hashed
from automl_kd.data.source import Source
from automl_kd.errors import DataError, FileError

SHARDS_VERSION = 1  # raised when the same shards begin to give another index

SHARD_PATTERN = re.compile(r"(?P<head>[^{}]*)\{(?P<first>\d+)\.\.(?P<last>\d+)\}(?P<tail>[^{}]*)")
SPLIT_IN_NAME = re.compile(rf"(?:^|[^a-z])({'|'.join(sorted(SPELLINGS, key=len, reverse=True))})(?:[^a-z]|$)")
"""Of a name in small letters."""

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
CLASSES_FILE = "classes.txt"

ShardsByKind = Mapping[Kind, list[Path]]


class ShardScan(NamedTuple):
    """Of each sample of a shard: offset and length of its image, and its label. `passed_over`: other members."""

    offsets: array[int]
    lengths: array[int]
    labels: array[int]
    passed_over: dict[str, int]


def shards(path: Path, root: Path, max_value: float = 0.0, notify: ScanProgress = lambda _done, _of: None) -> Source:
    """`DataError` if there are no shards, one is compressed or damaged, or a sample lacks its image or label.

    The index is kept below `root`. `max_value`: as of `pixels.decode_image`.
    """
    with name_listing_errors(path):
        parts = find_shards(path)
    every = [shard for part in parts.values() for shard in part]
    names_file = find_classes(path, every)
    stamp = hashed((SHARDS_VERSION, list(parts)), [*every, *names_file])
    kept = index_path(path, root, "shards")
    found = recall_shards(kept, stamp)
    if found is None:
        found = index_shards(path, parts, names_file, notify)
        with suppress(OSError):  # the next process scans again
            save_index(kept, found.images, {**found.about(), "stamp": stamp})
    return encoded_source(found, path, root, max_value, files=(*every, *names_file))


def recall_shards(kept: Path, stamp: str) -> EncodedSet | None:
    loaded = load_index(kept)
    if loaded is None or loaded[1].get("stamp") != stamp:
        return None
    return EncodedSet.of(*loaded)


def find_shards(path: Path) -> ShardsByKind:
    """The shards of each split, in the order of their names."""
    if pattern := SHARD_PATTERN.fullmatch(path.name):
        return {"training": list_pattern(path, pattern)}
    if path.is_file():
        return {"training": require_tar([path])}
    if not path.is_dir():
        raise DataError(
            f"no folder {path}; give the path of a folder of .tar files, or a pattern NAME-{{000..012}}.tar"
        )
    folders = {
        one: SPELLINGS[one.name.casefold()] for one in sorted(path.iterdir()) if one.name.casefold() in SPELLINGS
    }
    inside = [(kind, list_tars(folder)) for folder, kind in folders.items() if folder.is_dir()]
    if any(found for _, found in inside):
        return by_split(path, [(kind, shard) for kind, found in inside for shard in found])
    every = list_tars(path)
    if not every:
        raise DataError(f"{path} has no .tar file, and no train/ with any; give the path of a folder of shards")
    named = [(SPLIT_IN_NAME.search(shard.name.casefold()), shard) for shard in every]
    if not any(match for match, _ in named):
        return {"training": every}
    if strange := next((shard for match, shard in named if match is None), None):
        raise DataError(
            f"{strange} is named after no split, and others in {path} are; name all of them after train, val or test"
        )
    return by_split(path, [(SPELLINGS[match[1]], shard) for match, shard in named if match])


def by_split(path: Path, found: Iterable[tuple[Kind, Path]]) -> ShardsByKind:
    order: tuple[Kind, ...] = ("training", "validation", "test")
    pairs = list(found)
    parts = {kind: [shard for other, shard in pairs if other == kind] for kind in order}
    if not parts["training"]:
        raise DataError(f"{path} has {pairs[0][0]} images and none to train on; add files in train/ or named train")
    return {kind: part for kind, part in parts.items() if part}


def list_pattern(path: Path, pattern: re.Match[str]) -> list[Path]:
    every = pattern_shards(path, pattern)
    if not every:
        raise DataError(f"{path} counts down; write the smaller number first")
    if missing := [shard for shard in every if not shard.is_file()]:
        raise DataError(
            f"no shard {missing[0]}, one of {len(missing)} of {len(every)} that are not there; correct the pattern"
        )
    return require_tar(every)


def pattern_shards(path: Path, pattern: re.Match[str]) -> list[Path]:
    """The files that the pattern at `path` stands for."""
    width, numbers = len(pattern["first"]), range(int(pattern["first"]), int(pattern["last"]) + 1)
    return [path.with_name(f"{pattern['head']}{number:0{width}d}{pattern['tail']}") for number in numbers]


def list_tars(folder: Path) -> list[Path]:
    found = [one for one in sorted(folder.iterdir()) if one.name.casefold().endswith((".tar", *COMPRESSED))]
    return require_tar([one for one in found if one.name[0] != "."])


def require_tar(found: list[Path]) -> list[Path]:
    if packed := next((shard for shard in found if shard.name.casefold().endswith(COMPRESSED)), None):
        raise DataError(
            f"{packed} is compressed, so its images cannot be read one by one; unpack all such shards, for example "
            "with gunzip"
        )
    return found


def find_classes(path: Path, every: Iterable[Path]) -> list[Path]:
    """The file of names of classes, if there is one."""
    folders = dict.fromkeys([path, *(shard.parent for shard in every), *(shard.parent.parent for shard in every)])
    near = [one for one in folders if one in {path, path.parent} or one.is_relative_to(path)]
    return [one / CLASSES_FILE for one in near if (one / CLASSES_FILE).is_file()][:1]


def index_shards(path: Path, parts: ShardsByKind, names_file: list[Path], notify: ScanProgress) -> EncodedSet:
    every = [shard for part in parts.values() for shard in part]
    with ThreadPoolExecutor(THREADS) as pool:
        scans = []
        for scan in pool.map(scan_shard, every):
            scans.append(scan)
            notify(len(scans), len(every))
    sizes = [len(scan.labels) for scan in scans]
    offsets, lengths, labels = (
        np.concatenate([np.array(scan[place], dtype=np.int64) for scan in scans]) for place in range(3)
    )
    passed_over: dict[str, int] = {}
    for scan in scans:
        for what, count in scan.passed_over.items():
            passed_over[what] = passed_over.get(what, 0) + count
    images = EncodedImages.of(every, np.repeat(np.arange(len(every)), sizes), offsets, lengths, labels)
    numbers = iter(sizes)
    return EncodedSet(
        images=images,
        counts={kind: sum(next(numbers) for _ in part) for kind, part in parts.items()},
        class_names=names_of_classes(path, images, names_file),
        made={kind: f"{len(part)} shard{'s' * (len(part) > 1)}" for kind, part in parts.items()},
        passed_over=passed_over,
    )


def names_of_classes(path: Path, images: EncodedImages, names_file: list[Path]) -> tuple[str, ...]:
    highest = int(images.labels.max(initial=0))
    if not names_file:
        require_few_classes(str(path), highest, len(images))
        return tuple(str(label) for label in range(highest + 1))
    try:
        lines = files.read_text(names_file[0]).splitlines()
    except FileError as error:
        raise DataError(f"{names_file[0]} cannot be read: {error.strerror}; write it again or remove it") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if highest >= len(names):
        raise DataError(
            f"{images.called(int(images.labels.argmax()))} has the label {highest}, and {names_file[0]} names "
            f"{len(names)} classes, 0 to {len(names) - 1}; correct one of them"
        )
    return names


def scan_shard(shard: Path) -> ShardScan:
    scan = ShardScan(array("q"), array("q"), array("q"), {})
    try:
        with files.open_file(shard) as file:
            for key, members in groupby(tar_members(shard, file), lambda member: sample_key(member.name)):
                if key:
                    take_sample(shard, file, key.removeprefix("/"), list(members), scan)
    except FileError as error:
        raise cannot_read(shard, error) from error
    return scan


def sample_key(name: str) -> str:
    """What the members of a sample share, empty for what systems put beside files."""
    folder, _, base = name.rpartition("/")
    if base[:1] in {"", "."} or folder.startswith("__MACOSX"):
        return ""
    return f"{folder}/{base.partition('.')[0]}"


def take_sample(shard: Path, file: BufferedReader, key: str, members: list[TarMember], scan: ShardScan) -> None:
    by_ending = {member.name.rpartition("/")[2].partition(".")[2].casefold(): member for member in members}
    images = [one for ending, one in by_ending.items() if f".{ending.rpartition('.')[2]}" in SUFFIXES]
    stated = [(ending, by_ending[ending]) for ending in ("cls", "json") if ending in by_ending]
    label = read_label(shard, file, *stated[0]) if stated else None
    if not images and label is None:
        for ending in by_ending:
            what = f".{ending} in shards"
            scan.passed_over[what] = scan.passed_over.get(what, 0) + 1
        return
    if len(images) != 1 or label is None:
        lacking = "no label (a member .cls, or .json with label)" if label is None else f"{len(images) or 'no'} images"
        raise DataError(
            f"{shard}: the sample {printable(key)!r} has {lacking}, and one image and one label are wanted; write the "
            "shard again"
        )
    scan.offsets.append(images[0].offset)
    scan.lengths.append(images[0].length)
    scan.labels.append(label)


def read_label(shard: Path, file: BufferedReader, ending: str, member: TarMember) -> int | None:
    """None for JSON that says nothing of a label."""
    content = os.pread(file.fileno(), min(member.length, files.TEXT_LIMIT), member.offset)
    wrong = DataError(
        f"{shard}: {printable(member.name)} holds {content[:40]!r}, and a label is wanted, an integer of 0 or more; "
        "write the shard again"
    )
    try:
        found: Any = json.loads(content) if ending == "json" else int(content)
        if ending == "json":
            found = next((found[name] for name in ("label", "cls") if name in found), None)
    except (ValueError, TypeError, RecursionError) as error:
        raise wrong from error
    if found is None:
        return None
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 2**31:
        raise wrong
    return found
