"""`arrays:PATH.npz`: a numpy archive with `x_train`, `y_train`, `x_test`, `y_test`.

Images are uint8, (n, height, width, channels) with 1 or 3 channels or grey (n, height, width); labels are integers
(n,) from 0. Colour images are recommended to be cropped and mirrored, grey ones only cropped, as they are mostly signs.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from automl_kd.data.source import Part, Source, in_memory
from automl_kd.errors import DataError

KEYS = ("x_train", "y_train", "x_test", "y_test")


def arrays(path: Path) -> Source:
    """`DataError` if the file is missing or damaged, or its arrays are not as described above."""
    found = read(path)
    for split in ("train", "test"):
        check(path, split, found[f"x_{split}"], found[f"y_{split}"])
    classes = int(found["y_train"].max(initial=0)) + 1
    if classes > max(len(found["y_train"]), 1):
        raise DataError(
            f"y_train in {path} has the label {classes - 1} but only {len(found['y_train'])} images; number the "
            f"classes from 0 without gaps"
        )
    colour = found["x_train"].ndim == 4 and found["x_train"].shape[3] == 3
    return Source(
        train=part(found["x_train"], found["y_train"]),
        test=part(found["x_test"], found["y_test"]),
        class_names=tuple(str(label) for label in range(classes)),
        augment="crop-flip" if colour else "crop",
    )


def read(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    if not path.is_file():
        raise DataError(f"no file {path}; give the path of an .npz file that holds {', '.join(KEYS)}")
    try:
        # Opened here, because numpy leaves a file that it opened itself to the garbage when it is damaged.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} holds one array, not an archive; write it with numpy.savez")
            missing = [key for key in KEYS if key not in archive]
            if missing:
                known = ", ".join(archive)
                raise DataError(f"{path} has no {missing[0]!r}, only {known}; name its arrays {', '.join(KEYS)}")
            return {key: archive[key] for key in KEYS}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} could not be read as an .npz file of plain arrays; write it again") from error


def check(path: Path, split: str, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
    shaped = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))
    if images.dtype != np.uint8 or not shaped:
        raise DataError(
            f"x_{split} in {path} is {images.dtype} {images.shape}; it should be uint8 (n, height, width, 1 or 3) or "
            f"(n, height, width), convert it"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != images.shape[:1]:
        raise DataError(
            f"y_{split} in {path} is {labels.dtype} {labels.shape}; it should be integers ({len(images)},), one for "
            f"each image, convert it"
        )


def part(images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> Part:
    pixels = torch.from_numpy(images)
    channels_first = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    return in_memory(channels_first, torch.from_numpy(labels.astype(np.int64)))
