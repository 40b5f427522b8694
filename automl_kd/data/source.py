"""Images as a reader finds them, before they are divided: labels at once, pixels only for the rows that are kept.

So a folder of a million images of which five thousand are wanted decodes five thousand.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd.data.dataset import Augment
from automl_kd.errors import DataError

CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Part:
    """Labels int64 (n,) and `pixels(rows, resolution)`, which gives uint8 (len(rows), channels, height, width).

    `resolution` is the height and width wanted, 0 for the images' own.
    """

    labels: Tensor
    pixels: Callable[[Tensor, int], Tensor]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """What a reader returns. A part that the set does not have is None, and is then cut from `train`."""

    train: Part
    validation: Part | None = None
    test: Part | None = None
    class_names: tuple[str, ...]
    augment: Augment
    note: str = ""


def in_memory(images: Tensor, labels: Tensor) -> Part:
    """A part whose pixels, uint8 (n, channels, height, width), are all there already."""
    return Part(labels, lambda rows, resolution: resized(images[rows], resolution))


def refuse_beyond_memory(size: int, resolution: int) -> None:
    """`DataError` for images of `size` bytes that this machine has no room for."""
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > room:
        raise DataError(
            f"at data.resolution = {resolution} the images take {size / 2**30:.0f} GiB and this machine has "
            f"{room / 2**30:.0f} GiB of memory; lower data.resolution or data.train_images"
        )


def resized(images: Tensor, resolution: int) -> Tensor:
    """Square images by bilinear interpolation, antialiased so that shrinking averages over what it drops."""
    if resolution in (0, images.shape[2]) and resolution in (0, images.shape[3]):
        return images.contiguous()
    refuse_beyond_memory(images.shape[0] * images.shape[1] * resolution**2, resolution)
    size = (resolution, resolution)
    pieces = [F.interpolate(piece, size, mode="bilinear", antialias=True) for piece in torch.split(images, CHUNK)]
    return torch.cat(pieces)
