"""Images of a program on their way to workers: arrays, or a torch `Dataset` of (image, label), as an .npz file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from automl_kd.api.image_files import image_folder_of, is_too_large, kinds_of, pack_items
from automl_kd.api.objects import OBJECTS, to_bytes, write_object
from automl_kd.config.strict import as_plain
from automl_kd.data.counter import key
from automl_kd.data.division import TEST, held_positions
from automl_kd.data.images.pixels import in_colour, upright
from automl_kd.errors import DataError
from automl_kd.registry import name_type
from automl_kd.spec import DataSpec

PixelArray = np.ndarray[Any, Any]
Label = int | PixelArray

PARTS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
"""What a part may be called, and its name in the file."""

UNLABELLED_ARRAY = "x_unlabelled"


def name_data(data: object, folder: Path) -> dict[str, Any]:
    """The section `data` of an experiment.

    `data`: a name as in a file, a `DataSpec`, a table of its fields, arrays by name (`x_train`, `y_train`, `x_test`,
    `y_test`, and `x_val`, `y_val` if there are), a `Dataset`, or Datasets by part ("train", "validation", "test").
    With arrays or parts may come images without labels: an array `x_unlabelled`, or a part "unlabelled".

    torchvision's `ImageFolder` without transforms gives its files as they are, as `folder:` of its root, if that has
    the same files, classes and parts. Other Datasets become one array; where that would fill the memory, or images are
    of several sizes, a pack of lossless PNG, written item by item.
    """
    if isinstance(data, str):
        return {"name": data}
    plain = as_plain(data)
    if isinstance(plain, Mapping) and isinstance(plain.get("name"), str):
        return dict(plain)
    labelled, unlabelled = split_unlabelled(data)
    section = {"name": name_labelled(labelled, folder)}
    if unlabelled is not None:
        section["unlabelled"] = f"arrays:{write_arrays({UNLABELLED_ARRAY: unlabelled}, folder)}"
    return section


def name_labelled(data: object, folder: Path) -> str:
    """The reference to images with labels: files as they are, a pack or arrays."""
    parts = {str(name): part for name, part in data.items()} if isinstance(data, Mapping) else {"data": data}
    if parts.keys() <= {*PARTS, "data"} and ("data" in parts or "train" in parts):
        for name, part in parts.items():
            require_dataset(part, name)
        if (place := image_folder_of(parts)) is not None:
            return f"folder:{place}"
        if is_too_large(parts, read_item):
            return f"pack:{pack_items(parts, folder, read_item)}"
        try:
            return f"arrays:{write_arrays(collect_arrays(data), folder)}"
        except UnequalShapesError:
            if kinds_of(parts).keys() == {"training", "validation"}:  # of a pack the latter would be tested on
                raise
            return f"pack:{pack_items(parts, folder, read_item)}"
    return f"arrays:{write_arrays(collect_arrays(data), folder)}"


class UnequalShapesError(DataError):
    """Images are no one array, as their sizes differ."""


def write_arrays(arrays: Mapping[str, PixelArray], folder: Path) -> Path:
    content = to_bytes(dict(arrays))
    path = folder / OBJECTS / f"images-{hashlib.sha256(content).hexdigest()[:16]}.npz"
    if not path.exists():
        write_object(path, content)
    return path


def split_unlabelled(data: object) -> tuple[object, PixelArray | None]:
    """`data` without its images that have no labels, and these."""
    if not isinstance(data, Mapping):
        return data, None
    rest = {name: part for name, part in data.items() if name not in {UNLABELLED_ARRAY, "unlabelled"}}
    if UNLABELLED_ARRAY in data:
        return rest, to_array(data[UNLABELLED_ARRAY], UNLABELLED_ARRAY)
    return rest, read_images(data["unlabelled"], "unlabelled") if "unlabelled" in data else None


def read_images(items: Any, name: str) -> PixelArray:
    """Images (n, height, width[, channels]) of a `Dataset` of images, or of pairs whose labels are not looked at."""
    require_dataset(items, name)
    found = [items[place] for place in range(len(items))]
    images = [to_image(one[0] if isinstance(one, tuple | list) else one, name) for one in found]
    require_one_shape(images, name)
    return np.stack(images)


def collect_arrays(data: object) -> dict[str, PixelArray]:
    if isinstance(data, Mapping):
        if unknown := [str(name) for name in data if name not in PARTS and str(name).partition("_")[0] not in "xy"]:
            raise DataError(
                f"data has {unknown[0]!r}; give arrays x_train, y_train, x_test, y_test, or Datasets train and test"
            )
        if all(name in PARTS for name in data):
            return join_parts({PARTS[name]: read_items(part, name) for name, part in data.items()})
        return {str(name): to_array(value, str(name)) for name, value in data.items()}
    return join_parts({"train": read_items(data, "data")})


def join_parts(parts: Mapping[str, tuple[PixelArray, PixelArray]]) -> dict[str, PixelArray]:
    """The arrays of the file. Without a test part, a fifth of the training images is cut off, as of a folder.

    Labels that are not one whole number each are of another task than classification, and not drawn by.
    """
    if "train" not in parts:
        raise DataError("data has no part 'train'; give one")
    found = dict(parts)
    if "test" not in found:
        images, labels = found["train"]
        classes = torch.from_numpy(labels if labels.ndim == 1 else np.zeros(len(labels), dtype=np.int64))
        count = round(DataSpec.test * len(labels))
        held = held_positions(classes, count, key(TEST), every=labels.ndim == 1).numpy()
        stays = np.setdiff1d(np.arange(len(labels)), held)
        found |= {"train": (images[stays], labels[stays]), "test": (images[held], labels[held])}
    return {f"{axis}_{part}": values for part, pair in found.items() for axis, values in zip("xy", pair, strict=True)}


def read_items(items: Any, name: str) -> tuple[PixelArray, PixelArray]:
    """Images (n, height, width[, channels]) and labels of a `Dataset`; `DataError` for what is no such thing."""
    require_dataset(items, name)
    pairs = [read_item(items, place, name) for place in range(len(items))]
    images = [image for image, _ in pairs]
    require_one_shape(images, name)
    return np.stack(images), join_labels([label for _, label in pairs], name)


def join_labels(labels: list[Label], name: str) -> PixelArray:
    """int64 (n,) of whole numbers, else float32 (n, outputs)."""
    if all(isinstance(one, int) for one in labels):
        return np.array(labels, dtype=np.int64)
    rows = [np.atleast_1d(np.asarray(one, dtype=np.float32)) for one in labels]
    if uneven := [place for place, row in enumerate(rows) if len(row) != len(rows[0])]:
        place = uneven[0]
        raise DataError(
            f"item {place} of {name} has {len(rows[place])} labels, where the first has {len(rows[0])}; give each "
            "input one number for each label or output"
        )
    return np.stack(rows)


def read_item(items: Any, place: int, name: str) -> tuple[PixelArray, Label]:
    """Image and label of an item of the `Dataset` that errors call `name`."""
    try:
        image, label = items[place]
        found = label_of_item(label)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"item {place} of {name} is no pair of an image and an integer label, or numbers for another data.task; "
            "give pairs"
        ) from error
    if isinstance(found, int) and found < 0:
        raise DataError(f"{name} has the label {found}; number the classes from 0")
    return to_image(image, f"image {place} of {name}"), found


def label_of_item(label: Any) -> Label:
    """One whole number, or float32 (outputs,). `TypeError` or `ValueError` for what is neither."""
    if isinstance(label, str):
        return int(label)
    found = np.asarray(label.detach().cpu() if isinstance(label, torch.Tensor) else label)
    if found.dtype.kind not in "biuf" or not found.size:
        raise TypeError(f"{found.dtype} of shape {found.shape}")
    if found.size == 1 and (found.dtype.kind != "f" or (found.item() >= 0 and found.item().is_integer())):
        return int(found.item())
    return found.astype(np.float32).reshape(-1)


def require_dataset(items: Any, name: str) -> None:
    if not hasattr(items, "__getitem__") or not hasattr(items, "__len__") or not len(items):
        raise DataError(
            f"{name} is {name_type(items)}; give a Dataset of (image, label) that has a length, arrays by name, "
            "or a text such as folder:PATH"
        )


def require_one_shape(images: list[PixelArray], name: str) -> None:
    for place, image in enumerate(images):
        if image.shape != images[0].shape:
            raise UnequalShapesError(
                f"image {place} of {name} is of shape {image.shape}, where the first is of {images[0].shape}; "
                "resize all to one size"
            )


def to_image(image: Any, what: str) -> PixelArray:
    """uint8 (height, width) or (height, width, 1 or 3). A tensor has its channels first, as torchvision's do."""
    found = image
    if isinstance(image, torch.Tensor):
        tensor = image.detach().cpu()
        found = (tensor.permute(1, 2, 0) if tensor.ndim == 3 else tensor).numpy()
    elif hasattr(image, "convert"):  # of PIL
        found = picture_pixels(image, what)
    found = np.asarray(found)
    if found.dtype != np.uint8 or not (found.ndim == 2 or (found.ndim == 3 and found.shape[2] in {1, 3})):
        raise DataError(
            f"{what} is {found.dtype} of shape {found.shape}; give images as PIL opens them, or uint8 with 1 or 3 "
            "channels, without transforms such as ToTensor or Normalize"
        )
    return found


def picture_pixels(image: Any, what: str) -> PixelArray:
    """Of an image of PIL, as `folder:` reads it; plain grey stays grey.

    One that a program made or changed is taken to be upright.
    """
    if image.mode not in {"L", "RGB"} or image.has_transparency_data:
        return np.asarray(in_colour(image, what))
    return np.asarray(upright(image, image) if image.format else image)


def to_array(values: Any, name: str) -> PixelArray:
    """As numpy; a tensor of images (n, channels, height, width) becomes (n, height, width, channels)."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.permute(0, 2, 3, 1).contiguous() if values.ndim == 4 else values
    found = np.asarray(values)
    if name.casefold().startswith("y") and np.issubdtype(found.dtype, np.integer):
        return found.astype(np.int64)
    if name.casefold().startswith("x") and found.dtype != np.uint8:
        raise DataError(f"{name} is {found.dtype} of shape {found.shape}; give images of uint8, convert it")
    return found
