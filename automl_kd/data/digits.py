"""Handwritten digits: 1,797 grey images of 8x8 pixels in ten classes, which ship with scikit-learn.

They are the test part of a larger set: Alpaydin, Kaynak. Optical Recognition of Handwritten Digits. UCI Machine
Learning Repository, 1998. A fifth of them is held out here for testing.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from automl_kd.data.source import Source, in_memory

GREY_LEVELS = 16


def digits(_root: Path) -> Source:
    """Needs no download. The pixels' values 0 to 16 are spread over 0 to 255."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  a second to import

    found = load_digits()
    images: Tensor = torch.from_numpy(found.images)
    return Source(
        train=in_memory(
            (images[:, None] * (255 / GREY_LEVELS)).round().to(torch.uint8), torch.from_numpy(found.target).long()
        ),
        class_names=tuple(str(name) for name in found.target_names),
        augment="crop",  # a mirrored digit is another sign
    )
