"""Datasets of images or texts by name, each divided into training, validation and test parts.

A set is an entry of `DATASETS`, a reference `module:function` to a function like theirs, or one of the user's own in a
form of `FORMATS`, such as `folder:PATH`; the modules that read these describe them. A root or a path may be an address
in a bucket; what lies there is fetched once for each machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from automl_kd import files, memory, storage
from automl_kd.data.account import Account, account_of
from automl_kd.data.arrays import arrays, unlabelled_arrays
from automl_kd.data.augment.mixing import draw_mix, epoch_rows, mix_images, partner_places
from automl_kd.data.augment.view import augmented_view, follow_epochs, image_rows
from automl_kd.data.cifar import cifar10, cifar100
from automl_kd.data.dataset import Augment, Batch, Dataset, Split, digest_dataset
from automl_kd.data.digits import digits
from automl_kd.data.division import divide, images_used
from automl_kd.data.encoded.checked import check_encoded
from automl_kd.data.encoded.pack import packed
from automl_kd.data.encoded.packed_arrays import packed_arrays
from automl_kd.data.encoded.shards import CLASSES_FILE, SHARD_PATTERN, pattern_shards, shards
from automl_kd.data.fit import COLOURS
from automl_kd.data.images.folder import folder, unlabelled_folder
from automl_kd.data.kept import ground
from automl_kd.data.load_progress import FETCHING, INDEXING, PACKING, LoadProgress, ignore_progress
from automl_kd.data.order import epoch_order
from automl_kd.data.own_transform import TRIED_ON, OwnTransform, pin_transform
from automl_kd.data.source import HOLDERS, Source, SourceSplit, Unlabelled, in_memory
from automl_kd.data.streamed import Streaming
from automl_kd.data.text.tokens import pin_tokenizer
from automl_kd.data.views import epoch_windows, follow_rows, plain_view, train_view
from automl_kd.errors import DataError, FileError
from automl_kd.registry import lookup
from automl_kd.spec import DataSpec, LoaderOptions
from automl_kd.tasks import UNLABELLED, find_task

__all__ = [
    "DATASETS",
    "FORMATS",
    "TEXTS",
    "UNLABELLED",
    "Account",
    "Augment",
    "Batch",
    "Dataset",
    "LoadProgress",
    "Source",
    "SourceSplit",
    "Split",
    "account_of",
    "augmented_view",
    "digest_dataset",
    "draw_mix",
    "epoch_order",
    "epoch_rows",
    "epoch_windows",
    "follow_epochs",
    "follow_rows",
    "image_rows",
    "in_memory",
    "load_data",
    "mix_images",
    "partner_places",
    "plain_view",
    "read_source",
    "resolve_path",
    "settle_loading",
    "train_view",
]

DATASETS: Mapping[str, Callable[[Path], Source]] = {"digits": digits, "cifar10": cifar10, "cifar100": cifar100}
"""Sets by name; each reads what lies below the folder it is given."""


def read_parquet(path: Path, root: Path, spec: DataSpec, notify: LoadProgress) -> Source:
    from automl_kd.data.encoded.parquet import parquet  # noqa: PLC0415 - pyarrow is slow to import

    return parquet(path, root, spec.max_value, partial(notify, PACKING))


def read_text_table(path: Path, root: Path, spec: DataSpec, _notify: LoadProgress) -> Source:
    from automl_kd.data.text.source import text  # noqa: PLC0415 - pandas is slow to import

    return text(path, root, spec)


Reader = Callable[[Path, Path, DataSpec, LoadProgress], Source]

FORMATS: Mapping[str, Reader] = {
    "folder": lambda path, root, spec, notify: folder(path, root, spec.max_value, notify),
    "shards": lambda path, root, spec, notify: shards(path, root, spec.max_value, partial(notify, INDEXING)),
    "parquet": read_parquet,
    "pack": lambda path, root, spec, _notify: packed(path, root, spec.max_value),
    "arrays": lambda path, _root, spec, _notify: arrays(path, find_task(spec.task, spec.metric)),
    "text": read_text_table,
}
"""Ways to read the user's own images or texts at the first path, as the spec asks; the second is where indices, packs,
tokens and large decoded sets are kept, and the last is told how far it is."""

TEXTS = "text:"
"""How the names of sets of texts begin."""


STREAMED_FORMATS: Mapping[str, Reader] = {
    **FORMATS,
    "arrays": lambda path, root, spec, notify: packed_arrays(
        path, root, partial(notify, PACKING), find_task(spec.task, spec.metric)
    ),
}
"""The same, for images that are not held in memory: all parts of these sources are `encoded`."""

UNLABELLED_FORMATS: Mapping[str, Callable[[Path, Path, float], Unlabelled]] = {
    "folder": unlabelled_folder,
    "arrays": lambda path, _root, _max_value: unlabelled_arrays(path),
}
"""Ways to read images without labels; arguments as those of `FORMATS`."""

RESIDENT_BYTES = 4 * 2**30
"""Images of files that would take more are streamed, unless they are asked to be resident."""

STREAMED_SIZE = 224
"""Height and width that images are taken to have where nobody says theirs."""


def load_data(
    spec: DataSpec, root: Path, loader: LoaderOptions | None = None, notify: LoadProgress = ignore_progress
) -> Dataset:
    """The set that `spec` asks for, on the CPU; named sets are looked for below `root`.

    Equal specs give equal sets. `loader`: how images are decoded that are streamed; others are decoded here, also with
    `loading` "auto" (see `settle_loading`). `notify`: told how far the images of files are. `DataError` if images are
    missing, damaged or too few, `UnknownNameError` if the name is in no table.
    """
    spec = resolve_path(spec)
    source = read_source(spec, root, streamed=spec.loading == "stream", notify=notify)
    if spec.on_error == "skip" or spec.loading == "stream":
        source = check_encoded(source, spec, root, notify).source
    if spec.loading == "stream":
        cache = ground(root) / ".views"
        source = source.streamed(Streaming(loader or LoaderOptions(), cache, spec.decoder, spec.max_value))
    dataset = divide(spec.name, source, spec, root, notify)
    if not spec.transform:
        return dataset
    transform = OwnTransform.load(spec.transform)
    transform.try_on(dataset.train.pixels_at(torch.arange(min(len(dataset.train), TRIED_ON))))
    return replace(dataset, transform=transform)


def settle_loading(
    spec: DataSpec, root: Path, *, random_crops: bool, notify: LoadProgress = ignore_progress
) -> DataSpec:
    """`spec`, whose paths are resolved, with "stream" in place of "auto" where that is needed.

    `random_crops`: whether a recipe shows random parts of images, which are cut out of the files themselves.
    """
    if spec.loading != "auto" or not (source := read_source(spec, root, notify=notify)).encoded:
        return spec
    size = max(spec.view, spec.resolution) or STREAMED_SIZE
    needed = images_used(source, spec) * COLOURS * size**2
    large = needed > RESIDENT_BYTES or HOLDERS * needed > memory.machine_bytes()
    return replace(spec, loading="stream") if random_crops or large else spec


def read_source(
    spec: DataSpec, root: Path, *, streamed: bool = False, notify: LoadProgress = ignore_progress
) -> Source:
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
            fetched(storage.local_path(path), partial(notify, FETCHING)), root, spec, notify
        )
    else:
        source = lookup(DATASETS, spec.name, "dataset")(root)
    source = with_task(spec, source)
    if spec.unlabelled:
        form, path = unlabelled_reference(spec.unlabelled)
        found = UNLABELLED_FORMATS[form](fetched(storage.local_path(path)), root, spec.max_value)
        source = found.beside(source, Path(path).name)
    return source


def with_task(spec: DataSpec, source: Source) -> Source:
    """The source with the metric that is asked for. `DataError` for labels of another task."""
    task = find_task(spec.task, spec.metric)
    if task.name != source.task.name:
        raise DataError(
            f"data.task is {spec.task!r}, and the labels of {spec.name} are those of {source.task.name}; give them in "
            "arrays:PATH.npz or text:PATH, or drop data.task"
        )
    return replace(source, task=task)


def fetched(path: Path, notify: Callable[[int, int], None] = lambda _done, _of: None) -> Path:
    """`path`, a file, a folder or a pattern of shards, after it was fetched if it is in a bucket.

    One process of a machine fetches while others wait. `StorageError` if it does not fit on the disk.
    """
    pattern = SHARD_PATTERN.fullmatch(path.name)
    if pattern is None:
        storage.stage(path, notify=notify)
    else:
        names = {CLASSES_FILE, *(shard.name for shard in pattern_shards(path, pattern))}
        storage.stage(path.parent, wanted=lambda file: file.parent == path.parent and file.name in names, notify=notify)
    return path


def unlabelled_reference(text: str) -> tuple[str, str]:
    form, _, path = text.partition(":")
    if form not in UNLABELLED_FORMATS:
        raise DataError(f"data.unlabelled = {text!r} is no place of images; write folder:PATH or arrays:PATH.npz")
    return form, path


def resolve_path(spec: DataSpec) -> DataSpec:
    """`spec` with its paths, if it has any, made absolute, so that it means the same in another working directory, and
    its transform with the content hash of its module.
    """
    spec = replace(spec, name=absolute_reference("name", spec.name))
    spec = replace(spec, transform=pin_transform(spec.transform)) if spec.transform else spec
    spec = replace(spec, tokenizer=pin_tokenizer(spec.tokenizer)) if spec.tokenizer else spec
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
