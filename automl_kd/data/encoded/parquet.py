"""`parquet:PATH`: files in the layout of Hugging Face, `train-00000-of-00002.parquet` and so on, in PATH or PATH/data.

The column of images is a struct with `bytes`, or bytes; the label is the integer column that the schema's metadata
calls a ClassLabel, whose names are those of the classes, else the column `label`. A split whose labels are all -1, as
of a test whose labels are kept secret, is passed over. Rows are read in groups, not one by one, so the images are
packed once into a folder that is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from automl_kd.data.encoded.encoded_set import encoded_source
from automl_kd.data.encoded.pack import read_pack
from automl_kd.data.encoded.packing import PACK_FILE, PackedImage, PackPlan, require_few_classes, write_pack
from automl_kd.data.encoded.ranges import EncodedImages
from automl_kd.data.encoded.scan import ScanProgress
from automl_kd.data.encoded.shards import by_split
from automl_kd.data.images.layout import SPELLINGS, Kind
from automl_kd.data.kept import alone, ground, hashed
from automl_kd.data.source import Source, SourceSplit
from automl_kd.errors import DataError

SPLIT_FILE = re.compile(
    rf"(?P<split>{'|'.join(SPELLINGS)})(?:-(?P<number>\d+)-of-(?P<of>\d+).*)?\.parquet", re.IGNORECASE
)
IMAGE_COLUMNS = ("image", "img", "jpeg", "jpg", "png")
ROW_NAME = "{file} (image in row {row:,})"
LABEL_COLUMNS = ("label", "labels", "fine_label", "cls")


WITHHELD = -1
"""The label of all images of a split whose labels are not given away."""


class Columns(NamedTuple):
    """Names of the columns of images and labels, and of the classes; none of these where nothing says them."""

    image: str
    label: str
    classes: tuple[str, ...]


def parquet(path: Path, root: Path, max_value: float = 0.0, notify: ScanProgress = lambda _done, _of: None) -> Source:
    """`DataError` if there are no such files, one is missing or damaged, or they have other columns.

    The pack is kept below `root`. `max_value`: as of `pixels.decode_image`.
    """
    parts = find_parquet(path)
    every = [file for part in parts.values() for file in part]
    stamp = hashed(("parquet", list(parts)), every)
    pack = ground(root) / ".packs" / f"parquet-{stamp}"
    if not (pack / PACK_FILE).exists():
        with alone(pack):
            if not (pack / PACK_FILE).exists():
                write_pack(pack, plan_parquet(path, parts, stamp), notify)
    packed = read_pack(pack)
    source = encoded_source(packed, path, root, max_value, files=tuple(every))
    there = [file for kind, part in parts.items() if kind in packed.counts for file in part]
    train = name_rows(source.train, packed.images, there)
    validation, test = (part and name_rows(part, packed.images, there) for part in (source.validation, source.test))
    return replace(source, train=train, validation=validation, test=test)


def name_rows(part: SourceSplit, packed: EncodedImages, every: Sequence[Path]) -> SourceSplit:
    """`part`, whose images errors call by their rows in the files `every`, in the order of which all are `packed`."""
    images = part.encoded
    assert images is not None

    def named(row: int) -> str:
        same = (packed.offset == images.offset[row]) & (packed.length == images.length[row])
        number = int(np.flatnonzero(same)[0])
        for file in every:
            rows = open_parquet(file).metadata.num_rows
            if number < rows:
                return ROW_NAME.format(file=file, row=number)
            number -= rows
        return images.called(row)

    return replace(part, named=named)


def find_parquet(path: Path) -> Mapping[Kind, list[Path]]:
    """The files of each split, in order. `DataError` if one of those that their names count is missing."""
    if path.is_file():
        return {"training": [path]}
    for folder in (path, path / "data"):
        found = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
        matches = [(SPLIT_FILE.fullmatch(file.name), file) for file in found]
        if named := [(match, file) for match, file in matches if match]:
            parts = by_split(path, [(SPELLINGS[match["split"].casefold()], file) for match, file in named])
            for match, _ in named:
                require_complete(folder, match, [file.name for _, file in named])
            return parts
    raise DataError(
        f"{path} has no file such as train-00000-of-00002.parquet, and neither has its folder data; give the path of a "
        "set in the layout of Hugging Face"
    )


def require_complete(folder: Path, match: re.Match[str], names: Sequence[str], suffix: str = ".parquet") -> None:
    """`match`: of a file's name, with the groups of `SPLIT_FILE`."""
    if not match["of"]:
        return
    digits = len(match["number"])
    for number in range(int(match["of"])):
        begin = f"{match['split']}-{number:0{digits}d}-of-{match['of']}"
        if not any(name.startswith(begin) for name in names):
            raise DataError(f"{folder} has {match.group()} but no {begin}{suffix}; fetch all files of the set")


def plan_parquet(path: Path, parts: Mapping[Kind, list[Path]], stamp: str) -> PackPlan:
    columns = find_columns(next(iter(parts.values()))[0])
    labels = {file: read_labels(file, columns) for part in parts.values() for file in part}
    hidden = {kind for kind, part in parts.items() if all_hidden([labels[file] for file in part])}
    if "training" in hidden:
        raise DataError(f"{path} has the label {WITHHELD} for all training images; give their labels, numbered from 0")
    sizes = {kind: sum(len(labels[file]) for file in part) for kind, part in parts.items()}
    parts = {kind: part for kind, part in parts.items() if kind not in hidden}
    every = [file for part in parts.values() for file in part]
    labels = {file: labels[file] for file in every}
    require_label_range(path, np.concatenate(list(labels.values())), columns)
    return PackPlan(
        read=lambda first: read_rows(every, columns, labels, first),
        counts={kind: sizes[kind] for kind in parts},
        stamp=stamp,
        needed=sum(image_bytes(file, columns) for file in every),
        class_names=columns.classes,
        made={kind: f"{len(part)} Parquet file{'s' * (len(part) > 1)}" for kind, part in parts.items()},
        passed_over={f"{kind} images of label {WITHHELD}": sizes[kind] for kind in sorted(hidden)},
    )


def all_hidden(labels: Sequence[np.ndarray[Any, Any]]) -> bool:
    return any(map(len, labels)) and all(bool((one == WITHHELD).all()) for one in labels)


def find_columns(file: Path) -> Columns:
    """`DataError` names the columns of a file that has no images, or no labels."""
    schema = open_parquet(file).schema_arrow
    features = features_of(schema)
    image = next((name for name in IMAGE_COLUMNS if name in schema.names), "")
    for name, feature in features.items():
        if isinstance(feature, dict) and feature.get("_type") == "Image" and not image:
            image = name
    named = [name for name, feature in features.items() if isinstance(feature, dict) and feature.get("names")]
    label = next((name for name in (*LABEL_COLUMNS, *named) if name in schema.names), "")
    there = ", ".join(f"{field.name} ({field.type})" for field in schema)
    if not image or not label or not pa.types.is_integer(schema.field(label).type):
        raise DataError(
            f"{file} has the columns {there}; wanted are image (bytes, or a struct with bytes) and label (integers), "
            "rename them"
        )
    kind = schema.field(image).type
    content = kind.field("bytes").type if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
    if not (pa.types.is_binary(content) or pa.types.is_large_binary(content)):
        raise DataError(
            f"column {image} in {file} is {kind}; encoded images are wanted, bytes or a struct with bytes, write it so"
        )
    feature = features.get(label)
    names = feature.get("names") if isinstance(feature, dict) else None
    return Columns(image, label, tuple(map(str, names)) if isinstance(names, list) else ())


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """What Hugging Face's library wrote about the columns."""
    with suppress(ValueError, KeyError, TypeError):
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return found if isinstance(found, dict) else {}
    return {}


def open_parquet(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file} cannot be read as a Parquet file; fetch or write it again") from error


def read_labels(file: Path, columns: Columns) -> np.ndarray[Any, Any]:
    opened = open_parquet(file)
    if {columns.image, columns.label} - set(opened.schema_arrow.names):
        raise DataError(
            f"{file} has the columns {', '.join(opened.schema_arrow.names)}, and other files of the set have "
            f"{columns.image} and {columns.label}; fetch or write it again"
        )
    try:
        found = opened.read([columns.label]).column(columns.label)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file} is damaged; fetch or write it again") from error
    if found.null_count:
        raise DataError(f"column {columns.label} in {file} has {found.null_count:,} rows without a label; fill them in")
    return np.asarray(found.to_numpy(), dtype=np.int64)


def require_label_range(path: Path, labels: np.ndarray[Any, Any], columns: Columns) -> None:
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0:
        raise DataError(f"{path} has the label {low}; number the classes from 0, and take out rows without a label")
    if not columns.classes:
        require_few_classes(str(path), high, len(labels))
    elif high >= len(columns.classes):
        raise DataError(
            f"{path} has the label {high}, and its metadata names {len(columns.classes)} classes; correct one of them"
        )


def image_bytes(file: Path, columns: Columns) -> int:
    about = open_parquet(file).metadata
    groups = (about.row_group(place) for place in range(about.num_row_groups))
    chunks = (group.column(place) for group in groups for place in range(group.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] == columns.image)


def read_rows(
    every: Sequence[Path], columns: Columns, labels: Mapping[Path, np.ndarray[Any, Any]], first: int
) -> Iterator[PackedImage]:
    """The images from the row `first` of all files on; groups of rows before it are not read."""
    row = 0
    for file in every:
        opened, begin = open_parquet(file), row
        for place in range(opened.num_row_groups):
            count = opened.metadata.row_group(place).num_rows
            if row + count > first:
                skipped = max(0, first - row)
                for number, content in enumerate(read_group(file, opened, place, columns)[skipped:], row + skipped):
                    label = int(labels[file][number - begin])
                    yield content, label, ROW_NAME.format(file=file, row=number - begin)
            row += count


def read_group(file: Path, opened: pq.ParquetFile, place: int, columns: Columns) -> list[bytes | None]:
    try:
        found = opened.read_row_group(place, columns=[columns.image]).column(columns.image)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file} is damaged in its group of rows {place}; fetch or write it again") from error
    rows = found.to_pylist()
    return [row.get("bytes") if isinstance(row, dict) else row for row in rows]
