"""Images as a reader finds them, before they are divided: labels at once, pixels only for the rows that are kept.

So a folder of a million images of which five thousand are wanted decodes five thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd import memory
from automl_kd.data.dataset import Augment, Split
from automl_kd.errors import DataError

READ_CHUNK = 1024
HOLDERS = 2
"""Processes that hold a set at the same time, at least: the one that was started, and one that trains."""


@dataclass(frozen=True, eq=False)
class SourceSplit:
    """Labels int64 (n,) and `pixels(rows, resolution)`, which gives uint8 (len(rows), channels, height, width).

    `resolution` is the height and width wanted, 0 for the images' own. `channels`: of images that are held in memory, 0
    for those that are not.
    """

    labels: Tensor
    pixels: Callable[[Tensor, int], Tensor]
    channels: int = 0

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """What a reader returns. A part that the set does not have is None, and is then cut from `train`.

    `note`: what a reader of results should know of the parts. `made`: what they were made from, "training",
    "validation" and "test", as far as that has a name. `passed_over`: how many files were not read, by suffix or in
    words. `files`: all that decide what the set is; empty where it is no matter of files.
    `unlabelled`: images beside these, whose labels are not known or not looked at.
    `judge`: called with the images to train on, raises `DataError` if they cannot be what was meant.
    """

    train: SourceSplit
    validation: SourceSplit | None = None
    test: SourceSplit | None = None
    unlabelled: SourceSplit | None = None
    class_names: tuple[str, ...]
    augment: Augment
    note: str = ""
    made: Mapping[str, str] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    judge: Callable[[Split], None] | None = None


class Unlabelled(NamedTuple):
    """Images without labels. `files`, `passed_over`: as in `Source`."""

    part: SourceSplit
    files: tuple[Path, ...] = ()
    passed_over: Mapping[str, int] = MappingProxyType({})

    def beside(self, source: Source, name: str) -> Source:
        """`source` with these images, which its account calls `name`."""
        passed_over = {what: source.passed_over.get(what, 0) + count for what, count in self.passed_over.items()}
        return replace(
            source,
            unlabelled=self.part,
            files=(*source.files, *self.files),
            passed_over={**source.passed_over, **passed_over},
            made={**source.made, "unlabelled": name},
        )


def in_memory(images: Tensor, labels: Tensor) -> SourceSplit:
    """A part whose pixels, uint8 (n, channels, height, width), are all there already."""
    return SourceSplit(labels, lambda rows, resolution: resized(images[rows], resolution), channels=images.shape[1])


def refuse_beyond_memory(size: int, what: str, advice: str) -> None:
    """`DataError` for images of `size` bytes for which this machine has no room in all processes that hold them."""
    room = memory.machine_bytes()
    if HOLDERS * size > room:
        raise DataError(
            f"{what} take {size / 2**30:,.1f} GiB, and twice that is needed, for the process that was started and one "
            f"that trains, where this machine has {room / 2**30:,.1f} GiB of memory; {advice}"
        )


def resized(images: Tensor, resolution: int) -> Tensor:
    """Square images by bilinear interpolation, antialiased so that shrinking averages over what it drops."""
    if resolution in (0, images.shape[2]) and resolution in (0, images.shape[3]):
        return images.contiguous()
    size = (resolution, resolution)
    found = torch.empty(*images.shape[:2], *size, dtype=images.dtype)
    for piece, place in zip(torch.split(images, READ_CHUNK), torch.split(found, READ_CHUNK), strict=True):
        place.copy_(F.interpolate(piece, size, mode="bilinear", antialias=True))
    return found


def counted(numbers: Mapping[str, int], most: int = 6) -> str:
    """Numbers of several things in words, such as "3 .gif and 1 .txt"; of many kinds, the first ones."""
    named = [f"{number:,} {what}" for what, number in numbers.items()]
    if len(named) > most:
        named[most - 1 :] = [f"{sum(list(numbers.values())[most - 1 :]):,} others"]
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
