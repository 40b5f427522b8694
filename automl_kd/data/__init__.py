"""Image datasets by name, each divided into training, validation and test images. May import `config` and below.

A set is an entry of `DATASETS`, a reference `module:function` to a function like theirs, `folder:PATH` (see
`automl_kd.data.images.folder`) or `arrays:PATH.npz` (see `automl_kd.data.arrays`). A root or a path may
be an address in a bucket; what lies there is fetched once for each machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from automl_kd import files, storage
from automl_kd.data.account import Account, account_of
from automl_kd.data.arrays import arrays, unlabelled_arrays
from automl_kd.data.augment.mixing import draw_mix, epoch_rows, mix_images, partner_places
from automl_kd.data.augment.view import augmented_view, image_rows
from automl_kd.data.cifar import cifar10, cifar100
from automl_kd.data.dataset import UNLABELLED, Augment, Batch, Dataset, Split, digest_dataset
from automl_kd.data.digits import digits
from automl_kd.data.division import divide
from automl_kd.data.images.folder import folder, unlabelled_folder
from automl_kd.data.own_transform import OwnTransform, pin_transform
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
    "augmented_view",
    "digest_dataset",
    "draw_mix",
    "epoch_order",
    "epoch_rows",
    "epoch_windows",
    "image_rows",
    "in_memory",
    "load_data",
    "mix_images",
    "partner_places",
    "plain_view",
    "resolve_path",
    "train_view",
]

DATASETS: Mapping[str, Callable[[Path], Source]] = {"digits": digits, "cifar10": cifar10, "cifar100": cifar100}
"""Sets by name; each reads what lies below the folder it is given."""

FORMATS: Mapping[str, Callable[[Path, Path, float], Source]] = {
    "folder": folder,
    "arrays": lambda path, _root, _max_value: arrays(path),
}
"""Ways to read the user's own images at the first path; the second is where large decoded sets are kept, and the third
what is white in images of more than 8 bits."""


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
    form, _, path = spec.name.partition(":")
    if spec.max_value and form != "folder":
        raise DataError(
            f"data.max_value = {spec.max_value:g} is for folders of images of more than 8 bits, and data.name is "
            f"{spec.name!r}; drop it"
        )
    if form in FORMATS:
        source = FORMATS[form](fetched(storage.local_path(path)), root, spec.max_value)
    else:
        source = lookup(DATASETS, spec.name, "dataset")(root)
    if spec.unlabelled:
        form, path = unlabelled_reference(spec.unlabelled)
        found = UNLABELLED_FORMATS[form](fetched(storage.local_path(path)), root, spec.max_value)
        source = found.beside(source, Path(path).name)
    dataset = divide(spec.name, source, spec, root)
    if not spec.transform:
        return dataset
    transform = OwnTransform.load(spec.transform)
    transform.try_on(dataset.train.images)
    return replace(dataset, transform=transform)


def fetched(path: Path) -> Path:
    """`path`, a file or a folder, after it was fetched if it is in a bucket."""
    storage.pull_file(path)
    storage.pull(path, weights=True)
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
