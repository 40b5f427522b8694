"""Image datasets by name, each divided into training, validation and test images. May import `config` and below.

A set is an entry of `DATASETS`, a reference `module:function` to a function like theirs, or one of the user's own in a
form of `FORMATS`, such as `folder:PATH`; the modules that read these describe them. A root or a path may be an address
in a bucket; what lies there is fetched once for each machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from automl_kd import files, storage
from automl_kd.data.account import Account, account_of
from automl_kd.data.arrays import arrays, unlabelled_arrays
from automl_kd.data.cifar import cifar10, cifar100
from automl_kd.data.dataset import UNLABELLED, Augment, Batch, Dataset, Split, digest_dataset
from automl_kd.data.digits import digits
from automl_kd.data.division import divide
from automl_kd.data.encoded.checked import check_encoded
from automl_kd.data.encoded.pack import packed
from automl_kd.data.encoded.packed_arrays import packed_arrays
from automl_kd.data.encoded.shards import CLASSES_FILE, SHARD_PATTERN, pattern_shards, shards
from automl_kd.data.images.folder import folder, unlabelled_folder
from automl_kd.data.source import Source, SourceSplit, Unlabelled, in_memory
from automl_kd.data.views import epoch_order, epoch_windows, plain_view, train_view
from automl_kd.errors import DataError, FileError
from automl_kd.registry import lookup
from automl_kd.spec import DataSpec

__all__ = [
    "DATASETS",
    "FORMATS",
    "UNLABELLED",
    "Account",
    "Augment",
    "Batch",
    "Dataset",
    "Source",
    "SourceSplit",
    "Split",
    "account_of",
    "digest_dataset",
    "epoch_order",
    "epoch_windows",
    "in_memory",
    "load_data",
    "plain_view",
    "read_source",
    "resolve_path",
    "train_view",
]

DATASETS: Mapping[str, Callable[[Path], Source]] = {"digits": digits, "cifar10": cifar10, "cifar100": cifar100}
"""Sets by name; each reads what lies below the folder it is given."""


def read_parquet(path: Path, root: Path, max_value: float) -> Source:
    from automl_kd.data.encoded.parquet import parquet  # noqa: PLC0415 - pyarrow is slow to import

    return parquet(path, root, max_value)


FORMATS: Mapping[str, Callable[[Path, Path, float], Source]] = {
    "folder": folder,
    "shards": shards,
    "parquet": read_parquet,
    "pack": packed,
    "arrays": lambda path, _root, _max_value: arrays(path),
}
"""Ways to read the user's own images at the first path; the second is where indices, packs and large decoded sets are
kept, and the third what is white in images of more than 8 bits."""

STREAMED_FORMATS: Mapping[str, Callable[[Path, Path, float], Source]] = {
    **FORMATS,
    "arrays": lambda path, root, _max_value: packed_arrays(path, root),
}
"""The same, for images that are not held in memory: all parts of these sources are `encoded`."""

UNLABELLED_FORMATS: Mapping[str, Callable[[Path, Path, float], Unlabelled]] = {
    "folder": unlabelled_folder,
    "arrays": lambda path, _root, _max_value: unlabelled_arrays(path),
}
"""Ways to read images without labels; arguments as those of `FORMATS`."""


def load_data(spec: DataSpec, root: Path) -> Dataset:
    """The set that `spec` asks for, on the CPU; named sets are looked for below `root`.

    Equal specs give equal sets. `DataError` if images are missing, damaged or too few, `UnknownNameError` if the name
    is in no table.
    """
    spec = resolve_path(spec)
    source = read_source(spec, root)
    if spec.on_error == "skip":
        source = check_encoded(source, spec, root).source
    return divide(spec.name, source, spec, root)


def read_source(spec: DataSpec, root: Path, *, streamed: bool = False) -> Source:
    """The images that `spec`, whose paths are absolute, names, before they are divided; with those without labels.

    `streamed`: those to train, validate and test on are `encoded`, if they come from files.
    """
    form, _, path = spec.name.partition(":")
    if spec.max_value and (form not in FORMATS or form == "arrays"):
        raise DataError(
            f"data.max_value = {spec.max_value:g} is for files of images of more than 8 bits, and data.name is "
            f"{spec.name!r}; drop it"
        )
    if form in FORMATS:
        source = (STREAMED_FORMATS if streamed else FORMATS)[form](
            fetched(storage.local_path(path)), root, spec.max_value
        )
    else:
        source = lookup(DATASETS, spec.name, "dataset")(root)
    if spec.unlabelled:
        form, path = unlabelled_reference(spec.unlabelled)
        found = UNLABELLED_FORMATS[form](fetched(storage.local_path(path)), root, spec.max_value)
        source = found.beside(source, Path(path).name)
    return source


def fetched(path: Path) -> Path:
    """`path`, a file, a folder or a pattern of shards, after it was fetched if it is in a bucket.

    One process of a machine fetches while others wait. `StorageError` if it does not fit on the disk.
    """
    pattern = SHARD_PATTERN.fullmatch(path.name)
    if pattern is None:
        storage.stage(path)
    else:
        names = {CLASSES_FILE, *(shard.name for shard in pattern_shards(path, pattern))}
        storage.stage(path.parent, wanted=lambda file: file.parent == path.parent and file.name in names)
    return path


def unlabelled_reference(text: str) -> tuple[str, str]:
    form, _, path = text.partition(":")
    if form not in UNLABELLED_FORMATS:
        raise DataError(f"data.unlabelled = {text!r} is no place of images; write folder:PATH or arrays:PATH.npz")
    return form, path


def resolve_path(spec: DataSpec) -> DataSpec:
    """`spec` with its paths, if it has any, made absolute, so that it means the same in another working directory."""
    spec = replace(spec, name=absolute_reference("name", spec.name))
    if not spec.unlabelled:
        return spec
    unlabelled_reference(spec.unlabelled)
    return replace(spec, unlabelled=absolute_reference("unlabelled", spec.unlabelled))


def absolute_reference(field: str, text: str) -> str:
    form, _, path = text.partition(":")
    if form not in FORMATS:
        return text
    if not path:
        raise DataError(f"data.{field} = {text!r} names no path; write {form}:PATH")
    if "://" in path:
        return text
    try:
        return f"{form}:{files.expand(path).absolute()}"
    except FileError as error:
        raise DataError(f"data.{field} = {text!r} cannot be read: {error.strerror}; check the path") from error
