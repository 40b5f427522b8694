"""`arrays:PATH.npz`: a numpy archive with `x_train`, `y_train`, and `x_val`, `y_val`, `x_test`, `y_test` if there are.

Splits may be spelt as in folders (`layout.SPELLINGS`), in any case. What is missing of validation and test is as in
folders: cut from training, or tested on validation where there is that alone.

Images are uint8, (n, height, width, channels) with 1 or 3 channels or grey (n, height, width); labels are integers (n,)
or (n, 1) from 0, and of other tasks than classification numbers (n, outputs). Colour images are recommended to be
cropped and mirrored, grey ones only cropped, as they are mostly signs.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import torch

from automl_kd import files
from automl_kd.data.images.layout import SPELLINGS, Kind
from automl_kd.data.source import Source, SourceSplit, Unlabelled, in_memory, refuse_beyond_memory
from automl_kd.errors import DataError, FileError
from automl_kd.tasks import CLASSIFICATION, UNLABELLED, Task

Array = np.ndarray[Any, Any]
Taken = TypeVar("Taken")
Pair = tuple[str, str]  # the names of a split's images and labels

SPLIT_ARRAYS: dict[Kind, Pair] = {
    "training": ("x_train", "y_train"),
    "validation": ("x_val", "y_val"),
    "test": ("x_test", "y_test"),
}
"""What errors call arrays that are missing."""


def arrays(path: Path, task: Task = CLASSIFICATION) -> Source:
    """`DataError` if the file is missing, damaged or too large, or its arrays are not as described above."""
    found, names, others = read_arrays(path)
    for kind, pair in names.items():
        found[kind] = (found[kind][0], labels_of_arrays(path, pair, *found[kind], task))
    images, labels = found["training"]
    classes = int(labels.max(initial=0)) + 1 if task.labels_are_classes else labels.shape[1]
    if task.labels_are_classes and classes > max(len(labels), 1):
        raise DataError(
            f"{names['training'][1]} in {path} has the label {classes - 1} but only {len(labels)} images; number the "
            f"classes from 0 without gaps"
        )
    made: dict[str, str] = {kind: pair[0] for kind, pair in names.items()}
    if borrowed := "validation" in found and "test" not in found:
        found["test"], made["test"] = found.pop("validation"), made.pop("validation")
    return Source(
        train=array_part(images, labels),
        validation=array_part(*found["validation"]) if "validation" in found else None,
        test=array_part(*found["test"]) if "test" in found else None,
        class_names=tuple(str(label) for label in range(classes)),
        augment="crop-flip" if images.ndim == 4 and images.shape[3] == 3 else "crop",
        note=f"the test images are those of {made['test']}, as there is no test part" if borrowed else "",
        made=made,
        passed_over={f"array {name!r}": 1 for name in others},
        files=(path,),
        task=task,
    )


def unlabelled_arrays(path: Path) -> Unlabelled:
    """The array `x_unlabelled`, or the only one. `DataError` if there is no such thing, or it holds no images."""

    def taken(archive: np.lib.npyio.NpzFile) -> Array:
        names = list(archive)
        if (name := "x_unlabelled" if "x_unlabelled" in names else names[0]) != "x_unlabelled" and len(names) > 1:
            raise DataError(f"{path} has no 'x_unlabelled', only {', '.join(names)}; call the images so")
        refuse_beyond_memory(stated_bytes(archive, name), f"the images in {path}", "keep fewer of them")
        check_images(path, name, archive[name])
        return archive[name]

    images = read_archive(path, taken)
    part = array_part(images, np.full(len(images), UNLABELLED))
    return Unlabelled(part, (path,))


def read_arrays(path: Path) -> tuple[dict[Kind, tuple[Array, Array]], dict[Kind, Pair], list[str]]:
    """Images and labels of each split, what they are called, and the names of other arrays."""
    return read_archive(path, lambda archive: taken_from(path, archive))


def read_archive(path: Path, take: Callable[[np.lib.npyio.NpzFile], Taken]) -> Taken:
    """What `take` returns of the archive; `DataError` if it cannot be read."""
    try:
        # Opened here, because numpy leaves a file that it opened itself to the garbage when it is damaged.
        with files.open_file(path) as file:
            return take(require_archive(path, np.load(file, allow_pickle=False)))
    except FileError as error:
        if error.errno == errno.ENOENT:
            raise DataError(
                f"no file {path}; give the path of an .npz file of x_train, y_train, x_test, y_test"
            ) from error
        raise DataError(f"{path} cannot be read: {error.strerror}; give the path of an .npz file") from error
    except DataError:
        raise
    except Exception as error:  # zip, zlib and numpy raise whatever damaged bytes lead them to
        raise DataError(f"{path} could not be read as an .npz file of plain arrays; write it again") from error


def require_archive(path: Path, found: Any) -> np.lib.npyio.NpzFile:
    if not isinstance(found, np.lib.npyio.NpzFile):
        raise DataError(f"{path} holds one array, not an archive; write it with numpy.savez")
    return found


def taken_from(
    path: Path, archive: np.lib.npyio.NpzFile
) -> tuple[dict[Kind, tuple[Array, Array]], dict[Kind, Pair], list[str]]:
    names = names_in(path, list(archive))
    taken = [name for pair in names.values() for name in pair]
    needed = sum(stated_bytes(archive, name) for name in taken)
    refuse_beyond_memory(needed, f"the arrays in {path}", "keep fewer images in it")
    found = {kind: (archive[pair[0]], archive[pair[1]]) for kind, pair in names.items()}
    return found, names, [name for name in archive if name not in taken]


def names_in(path: Path, given: list[str]) -> dict[Kind, Pair]:
    """The names of the arrays of each split that is there."""
    found: dict[tuple[str, Kind], str] = {}
    for name in given:
        axis, _, split = name.casefold().partition("_")
        if axis not in {"x", "y"} or split not in SPELLINGS:
            continue
        if (known := (axis, SPELLINGS[split])) in found:
            raise DataError(f"{path} has both {found[known]!r} and {name!r}; keep one of them")
        found[known] = name
    wanted = {kind: pair for kind, pair in SPLIT_ARRAYS.items() if {("x", kind), ("y", kind)} & found.keys()}
    for kind, pair in {"training": SPLIT_ARRAYS["training"], **wanted}.items():
        for axis, name in zip("xy", pair, strict=True):
            if (axis, kind) not in found:
                raise DataError(
                    f"{path} has no {name!r}, only {', '.join(given)}; name its arrays x_train, y_train, and "
                    "x_val, y_val, x_test, y_test if there are"
                )
    return {kind: (found["x", kind], found["y", kind]) for kind in wanted}


def stated_bytes(archive: np.lib.npyio.NpzFile, name: str) -> int:
    """The size of an array from its header, which is all that is read of it."""
    with archive.zip.open(f"{name}.npy") as member:  # type: ignore[union-attr]  # open while we are here
        shape, _, dtype = array_header(member)
    return math.prod(shape) * dtype.itemsize


def array_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is in Fortran order, and type of an array in a file, which is then read up to its values."""
    version = np.lib.format.read_magic(member)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return header(member)


def check_images(path: Path, name: str, images: Array) -> None:
    shaped = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))
    if images.dtype != np.uint8 or not shaped:
        raise DataError(
            f"{name} in {path} is {images.dtype} {images.shape}; it should be uint8 (n, height, width, 1 or 3) or "
            f"(n, height, width), convert it"
        )


def labels_of_arrays(path: Path, names: Pair, images: Array, labels: Array, task: Task) -> Array:
    """The labels of a split as the task has them: int64 (n,), or float32 (n, outputs)."""
    if task.labels_are_classes:
        return class_numbers(path, names, images, labels)
    found = numbers_of(path, names, images, labels)
    require_presence(path, names[1], found, task)
    return found


def class_numbers(path: Path, names: Pair, images: Array, labels: Array) -> Array:
    """One for each image, perhaps in a column; false and true are 0 and 1."""
    check_images(path, names[0], images)
    plain = np.issubdtype(labels.dtype, np.integer) or labels.dtype == np.bool_
    if not plain or labels.shape not in {images.shape[:1], (*images.shape[:1], 1)}:
        raise DataError(
            f"{names[1]} in {path} is {labels.dtype} {labels.shape}; it should be integers ({len(images)},), one for "
            "each image, convert it, or set data.task where labels are no classes"
        )
    return labels.astype(np.int64).reshape(-1)


def numbers_of(path: Path, names: Pair, images: Array, labels: Array) -> Array:
    """Labels of other tasks than classification, as float32 (n, outputs)."""
    check_images(path, names[0], images)
    plain = np.issubdtype(labels.dtype, np.number) or labels.dtype == np.bool_
    if not plain or labels.ndim not in {1, 2} or labels.shape[:1] != images.shape[:1]:
        raise DataError(
            f"{names[1]} in {path} is {labels.dtype} {labels.shape}; it should be numbers ({len(images)}, outputs), "
            "convert it"
        )
    if not np.isfinite(labels).all():
        raise DataError(f"{names[1]} in {path} has numbers that are not finite; correct them")
    return labels.astype(np.float32).reshape(len(labels), -1)


def require_presence(path: Path, name: str, labels: Array, task: Task) -> None:
    """`DataError` for labels that say whether something is present, and are neither 0 nor 1."""
    if not task.labels_are_numbers and not np.isin(labels, (0, 1)).all():
        wrong = labels[~np.isin(labels, (0, 1))][0]
        raise DataError(f"{name} in {path} has the label {wrong:g}, and data.task = {task.name!r} wants 0 and 1")


def array_part(images: Array, labels: Array) -> SourceSplit:
    pixels = torch.from_numpy(images)
    channels_first = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    whole = np.issubdtype(labels.dtype, np.integer)
    return in_memory(channels_first, torch.from_numpy(labels.astype(np.int64) if whole else labels))
