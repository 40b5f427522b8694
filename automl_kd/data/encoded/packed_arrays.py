"""Images of arrays as a pack of binary PPM and PGM, their pixels behind a line of text: for sets that are streamed.

Arrays in the archive are read image by image, so they need not fit into memory.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from automl_kd import files
from automl_kd.data.arrays import array_header, labels_of_arrays, names_in, read_archive
from automl_kd.data.encoded.encoded_set import encoded_source
from automl_kd.data.encoded.marks import label_marks
from automl_kd.data.encoded.pack import read_pack
from automl_kd.data.encoded.packing import PACK_FILE, PackedImage, PackPlan, require_few_classes, write_pack
from automl_kd.data.encoded.ranges import NumberArray
from automl_kd.data.encoded.scan import ScanProgress
from automl_kd.data.images.layout import Kind
from automl_kd.data.kept import alone, ground, hashed
from automl_kd.data.source import Source
from automl_kd.errors import DataError
from automl_kd.tasks import CLASSIFICATION, Task


class ArrayPart(NamedTuple):
    """The name of the images of a split, the shape that their header states, and their labels."""

    name: str
    shape: tuple[int, ...]
    labels: NumberArray


def packed_arrays(
    path: Path, root: Path, notify: ScanProgress = lambda _done, _of: None, task: Task = CLASSIFICATION
) -> Source:
    """What `arrays` reads, as encoded images; the pack is made once and kept below `root`.

    Grey images become colour when they are decoded, with three equal channels. Of labels that are no classes the pack
    holds the marks. `DataError` as of `arrays`.
    """
    stamp = hashed("arrays" if task.labels_are_classes else f"arrays {task.name}", [path])
    pack = ground(root) / ".packs" / f"arrays-{stamp}"
    if not (pack / PACK_FILE).exists():
        with alone(pack):
            if not (pack / PACK_FILE).exists():
                write_pack(pack, plan_of_arrays(path, stamp, task), notify)
    source = encoded_source(read_pack(pack), path, root, 0.0, files=(path,))
    return source if task.labels_are_classes else with_numbers(source, path, task)


def with_numbers(source: Source, path: Path, task: Task) -> Source:
    """The source with the labels of the archive in place of their marks."""
    parts, _ = read_archive(path, lambda archive: look_at_arrays(path, archive, task))
    train, *others = (torch.from_numpy(part.labels) for part in parts.values())
    validation, test = (
        None if part is None else replace(part, labels=others.pop(0)) for part in (source.validation, source.test)
    )
    return replace(source, train=replace(source.train, labels=train), validation=validation, test=test, task=task)


def plan_of_arrays(path: Path, stamp: str, task: Task) -> PackPlan:
    parts, others = read_archive(path, lambda archive: look_at_arrays(path, archive, task))
    labels = parts["training"].labels
    outputs = int(labels.max(initial=0)) + 1 if task.labels_are_classes else labels.shape[1]
    if task.labels_are_classes:
        require_few_classes(str(path), outputs - 1, len(labels))

    def read(first: int) -> Iterator[PackedImage]:
        row = 0
        for part in parts.values():
            yield from read_part(path, part, max(0, first - row))
            row += len(part.labels)

    return PackPlan(
        read=read,
        counts={kind: len(part.labels) for kind, part in parts.items()},
        stamp=stamp,
        needed=sum(math.prod(part.shape) + 32 * len(part.labels) for part in parts.values()),
        class_names=tuple(str(label) for label in range(outputs)),
        made={kind: part.name for kind, part in parts.items()},
        passed_over={f"array {name!r}": 1 for name in others},
    )


def look_at_arrays(path: Path, archive: np.lib.npyio.NpzFile, task: Task) -> tuple[Mapping[Kind, ArrayPart], list[str]]:
    names = names_in(path, list(archive))
    found: dict[Kind, ArrayPart] = {}
    for kind, (name, label) in names.items():
        with archive.zip.open(f"{name}.npy") as member:  # type: ignore[union-attr]  # open while we are here
            shape, fortran, dtype = array_header(member)
        images = np.broadcast_to(np.zeros((), dtype=dtype), shape)  # of the stated shape, and without memory
        labels = labels_of_arrays(path, (name, label), images, archive[label], task)
        if fortran:
            raise DataError(f"{name} in {path} is in Fortran order; write it again with numpy.ascontiguousarray")
        found[kind] = ArrayPart(name, shape, labels)
    taken = {name for pair in names.values() for name in pair}
    return {kind: found[kind] for kind in ("training", "validation", "test") if kind in found}, [
        name for name in archive if name not in taken
    ]


def read_part(path: Path, part: ArrayPart, first: int) -> Iterator[PackedImage]:
    """The images of a split from the one at `first` on."""
    height, width, *channels = part.shape[1:]
    kind = "P6" if channels == [3] else "P5"
    begin = f"{kind} {width} {height} 255\n".encode()
    size = math.prod(part.shape[1:])
    try:
        with (
            files.open_file(path) as file,
            zipfile.ZipFile(file) as archive,
            archive.open(f"{part.name}.npy") as member,
        ):
            array_header(member)
            for row, label in enumerate(label_marks(part.labels).tolist()):
                content = member.read(size)
                if row >= first and len(content) == size:
                    yield begin + content, label, f"{path} (image {row:,} of {part.name})"
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{part.name} in {path} is damaged; write the file again") from error
