"""Small image files in folders, for tests of the readers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from automl_kd.data.encoded.folder_index import whole_files
from automl_kd.data.encoded.ranges import EncodedImages

RNG = np.random.default_rng(7)


def noise(low: float = 0, high: float = 256, *, channels: int = 3, kind: Any = np.uint8) -> Image.Image:
    """An image of 6x6 pixels, all different from one call to the next."""
    shape = (6, 6, channels) if channels > 1 else (6, 6)
    return Image.fromarray((low + (high - low) * RNG.random(shape)).astype(kind))


def fill(top: Path, classes: Sequence[str] = ("ant", "bee"), count: int = 10, suffix: str = "png") -> None:
    """`count` noisy images for each class."""
    for name in classes:
        (top / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            noise().save(top / name / f"{number}.{suffix}")


def whole(*paths: Path) -> EncodedImages:
    """Files of images, all of class 0."""
    return whole_files([str(path) for path in paths], np.zeros(len(paths)))
