"""Torch Datasets whose images are read from files in place of memory: a folder as it is, or a pack that is written."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from automl_kd import memory, storage
from automl_kd.api.objects import OBJECTS
from automl_kd.data.encoded.folder_index import list_classes
from automl_kd.data.encoded.pack import read_pack
from automl_kd.data.encoded.packing import PACK_FILE, PackedImage, PackPlan, identity_of_set, write_pack
from automl_kd.data.images.layout import SPELLINGS, Kind
from automl_kd.data.source import HOLDERS
from automl_kd.errors import DataError

ItemReader = Callable[[Any, int, str], tuple[np.ndarray[Any, Any], int | np.ndarray[Any, Any]]]
"""Gives image, uint8 (height, width[, channels]), and label of a Dataset's item; the text is what errors call the
Dataset."""


def image_folder_of(parts: Mapping[str, Any]) -> Path | None:
    """The folder that `folder:` reads as torchvision's `ImageFolder`s read theirs, each a part; None if there is none.

    `parts`: by name, "data" for one alone.

    They must have no transforms and torchvision's own loader, and find the same files, classes and parts.
    """
    if not all(is_plain_folder(one) for one in parts.values()) or kinds_of(parts).keys() == {"training", "validation"}:
        return None
    roots = [os.path.abspath(one.root) for one in parts.values()]  # noqa: PTH100 - links stay as they are
    top = Path(os.path.commonpath(roots))
    try:
        found, _ = list_classes(top)
    except DataError:
        return None
    kinds = kinds_of(parts)
    if kinds.keys() == {"training", "test"} and set(found.counts) == {"training", "validation"}:
        kinds = {"training": kinds["training"], "validation": kinds["test"]}  # as `folder:` tests on them
    if set(kinds) != set(found.counts):
        return None
    same = all(
        list(found.class_names) == one.classes
        and found.part(kind).labels.tolist() == [label for _, label in one.samples]
        and all(
            str(found.part(kind).path(row)) == os.path.abspath(file)  # noqa: PTH100 - likewise
            for row, (file, _) in enumerate(one.samples)
        )
        for kind, one in kinds.items()
    )
    return top if same else None


def kinds_of(parts: Mapping[str, Any]) -> dict[Kind, Any]:
    """The Datasets by what they are for; one alone, called "data", is to train on."""
    return {SPELLINGS.get(name, "training"): one for name, one in parts.items()}


def is_plain_folder(items: Any) -> bool:
    if type(items).__module__ != "torchvision.datasets.folder":
        return False
    own = getattr(items.loader, "__module__", "") != "torchvision.datasets.folder"
    return not own and items.transform is None and items.target_transform is None


def is_too_large(parts: Mapping[str, Any], read: ItemReader) -> bool:
    """Whether the images, each as large as the first of its part, would fill the memory as one array."""
    size = sum(len(one) * read(one, 0, name)[0].nbytes for name, one in parts.items())
    return HOLDERS * size > memory.machine_bytes()


def pack_items(parts: Mapping[str, Any], folder: Path, read: ItemReader) -> Path:
    """A pack of the items, each image as PNG, below `folder`; it is named by what it holds."""
    if storage.address(folder) != str(folder):
        raise DataError(
            "these images are too many for one array, and the results lie in a bucket, to which a pack is not sent; "
            "write the images into files, or give a folder as out"
        )
    kinds = kinds_of(parts)
    if kinds.keys() == {"training", "validation"}:
        raise DataError("these images are too many for one array and have no part to test on; give a part test too")
    scratch = folder / OBJECTS / "images.unfinished"
    shutil.rmtree(scratch, ignore_errors=True)
    counts = {kind: len(one) for kind, one in kinds.items()}

    def items(first: int) -> Iterator[PackedImage]:
        assert first == 0  # what was begun has been removed
        for name, one in parts.items():
            for place in range(len(one)):
                image, label = read(one, place, name)
                if not isinstance(label, int):
                    raise DataError(
                        f"item {place} of {name} has labels that are no class, and a pack of images that are too many "
                        "or of several sizes holds classes alone; resize all to one size, or write an .npz file"
                    )
                yield to_png(image), label, f"image {place} of {name}"

    write_pack(scratch, PackPlan(read=items, counts=counts, stamp="items", about={"source": "a Dataset"}))
    pack = scratch.with_name(f"images-{identity_of_set(read_pack(scratch))}.pack")
    if (pack / PACK_FILE).exists():
        shutil.rmtree(scratch)
    else:
        scratch.rename(pack)
    return pack


def to_png(image: np.ndarray[Any, Any]) -> bytes:
    written = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(written, "PNG")
    return written.getvalue()
