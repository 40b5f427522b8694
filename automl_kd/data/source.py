"""Images as a reader finds them, before they are divided: labels at once, pixels only for the rows that are kept.

So a folder of a million images of which five thousand are wanted decodes five thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd.data.dataset import Augment

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


def resized(images: Tensor, resolution: int) -> Tensor:
    """Square images by bilinear interpolation, antialiased so that shrinking averages over what it drops."""
    if resolution in (0, images.shape[2]) and resolution in (0, images.shape[3]):
        return images.contiguous()
    size = (resolution, resolution)
    pieces = [F.interpolate(piece, size, mode="bilinear", antialias=True) for piece in torch.split(images, CHUNK)]
    return torch.cat(pieces)
