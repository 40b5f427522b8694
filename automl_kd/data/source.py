"""Images as a reader finds them, before they are divided: labels at once, pixels only for the rows that are kept.

So a folder of a million images of which five thousand are wanted decodes five thousand.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd import memory
from automl_kd.data.dataset import Augment, Split
from automl_kd.data.encoded.marks import digest_order
from automl_kd.data.encoded.ranges import EncodedImages, NumberArray
from automl_kd.data.encoded.scan import ImageScan
from automl_kd.data.fit import Fit
from automl_kd.data.streamed import StreamedImages, Streaming
from automl_kd.errors import DataError
from automl_kd.tasks import CLASSIFICATION, Task

READ_CHUNK = 1024
HOLDERS = 2
"""Processes that hold a set at the same time, at least: the one that was started, and one that trains."""


@dataclass(frozen=True)
class TextFacts:
    """What networks must know of a set of texts.

    `vocabulary`: how many tokens there are; `padding`, `separator`: two of them, see `TextShape`. `longest`: tokens of
    its longest text.
    """

    vocabulary: int
    padding: int
    separator: int
    longest: int


@dataclass(frozen=True, eq=False)
class SourceSplit:
    """Labels int64 (n,) and `pixels(rows, fit)`, which gives uint8 (len(rows), channels, height, width).

    `channels`: of images that are held in memory, 0 for those that are not. `encoded`: the same images in the same
    order as ranges of bytes in files, of those that are. `scan`: what a look at their bytes found, where it is known.
    `stream(rows, index, fit)`: in place of `pixels`, of images that are decoded as they are needed.
    `named(row)`: what errors call a flawed image, where that is not the file that `encoded` reads.
    `lengths`: of texts, see `Split`; `pixels` gives their tokens then. `labels`: of other tasks than classification
    float32 (n, outputs).
    """

    labels: Tensor
    pixels: Callable[[Tensor, Fit], Tensor]
    channels: int = 0
    encoded: EncodedImages | None = None
    scan: ImageScan | None = None
    stream: Callable[[Tensor, Tensor, Fit], StreamedImages] | None = None
    named: Callable[[int], str] | None = None
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def noun(self) -> str:
        """What its inputs are called in sentences."""
        return "images" if self.lengths is None else "texts"


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """What a reader returns. A part that the set does not have is None, and is then cut from `train`.

    `note`: what a reader of results should know of the parts. `made`: what they were made from, "training",
    "validation" and "test", as far as that has a name. `passed_over`: how many files were not read, by suffix or in
    words. `files`: all that decide what the set is, `EncodedImages` for all of theirs (`list_paths`); empty where it is
    no matter of files.
    `unlabelled`: images beside these, whose labels are not known or not looked at.
    `judge`: called with the images to train on, raises `DataError` if they cannot be what was meant.
    `texts`: of a set of texts, what networks must know of it. `task`: what labels are.
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
    files: tuple[Path | EncodedImages, ...] = ()
    judge: Callable[[Split], None] | None = None
    texts: TextFacts | None = None
    task: Task = CLASSIFICATION

    @property
    def parts(self) -> list[SourceSplit]:
        """Those that there are."""
        return [part for part in (self.train, self.validation, self.test, self.unlabelled) if part is not None]

    @property
    def encoded(self) -> bool:
        """Whether all images are in files of images."""
        return all(part.encoded is not None for part in self.parts)

    def streamed(self, streaming: Streaming) -> Source:
        """The same images after `check_encoded`, decoded as they are needed. `DataError` if they are in no files."""
        parts = [part and stream_part(part, streaming) for part in (self.validation, self.test, self.unlabelled)]
        validation, test, unlabelled = parts
        train, judge, order = stream_part(self.train, streaming), self.judge, stream_order(self.train)
        return replace(
            self,
            train=train,
            validation=validation,
            test=test,
            unlabelled=unlabelled,
            judge=None
            if judge is None
            else lambda split: judge(replace(split, index=split.index.new_tensor(order[split.index.numpy()]))),
        )


def stream_order(part: SourceSplit) -> NumberArray:
    """Rows in the order of the images' digests, which is the same wherever they lie."""
    if part.encoded is None or part.scan is None:
        raise DataError(
            'data.loading = "stream" is for images in files, and these are in memory; set it to "resident" or "auto"'
        )
    return digest_order(part.scan.digests, part.labels.numpy())


def stream_part(part: SourceSplit, streaming: Streaming) -> SourceSplit:
    order, encoded, scan = stream_order(part), part.encoded, part.scan
    assert encoded is not None
    assert scan is not None

    def stream(rows: Tensor, index: Tensor, fit: Fit) -> StreamedImages:
        places = order[rows.numpy()]
        return StreamedImages.of(encoded.take(places), scan.digests[places], index, fit, streaming)

    return replace(part, labels=part.labels[torch.from_numpy(order)], stream=stream, channels=0)


class Unlabelled(NamedTuple):
    """Images without labels. `files`, `passed_over`: as in `Source`."""

    part: SourceSplit
    files: tuple[Path | EncodedImages, ...] = ()
    passed_over: Mapping[str, int] = MappingProxyType({})

    def beside(self, source: Source, name: str) -> Source:
        """`source` with these images, which its account calls `name`.

        `DataError` if a folder for each class of the source holds them: they have labels then.
        """
        if set(source.class_names) <= {file.parent.name for file in list_paths(self.files)}:
            classes = ", ".join([*source.class_names[:3], *(["..."] if len(source.class_names) > 3 else [])])
            raise DataError(
                f"data.unlabelled: {name} has a folder for each class ({classes}), so its images have labels, which "
                "would be lost; add them to the training images, of which data.labelled_images hides labels, or put "
                "them into one folder"
            )
        passed_over = {what: source.passed_over.get(what, 0) + count for what, count in self.passed_over.items()}
        return replace(
            source,
            unlabelled=self.part,
            files=(*source.files, *self.files),
            passed_over={**source.passed_over, **passed_over},
            made={**source.made, "unlabelled": name},
        )


def list_paths(found: Iterable[Path | EncodedImages]) -> Iterator[Path]:
    """Files; of `EncodedImages` each of theirs, made when it is asked for."""
    for one in found:
        if isinstance(one, Path):
            yield one
        else:
            begins = [0, *one.ends[:-1].tolist()]
            for begin, end in zip(begins, one.ends.tolist(), strict=True):
                yield Path(os.fsdecode(one.names[begin:end].tobytes()))


def in_memory(images: Tensor, labels: Tensor) -> SourceSplit:
    """A part whose pixels, uint8 (n, channels, height, width), are all there already."""
    return SourceSplit(labels, lambda rows, fit: resized(images[rows], fit), channels=images.shape[1])


def refuse_beyond_memory(size: int, what: str, advice: str) -> None:
    """`DataError` for images of `size` bytes for which this machine has no room in all processes that hold them."""
    room = memory.machine_bytes()
    if HOLDERS * size > room:
        raise DataError(
            f"{what} take {size / 2**30:,.1f} GiB, and twice that is needed, for the process that was started and one "
            f"that trains, where this machine has {room / 2**30:,.1f} GiB of memory; {advice}"
        )


def resized(images: Tensor, fit: Fit) -> Tensor:
    """Square images, antialiased so that shrinking averages over what it drops."""
    if not fit.size or (fit.crop == 1 and images.shape[2:] == (fit.size, fit.size)):
        return images.contiguous()
    side, size = fit.scaled_side, fit.size
    smooth = fit.interpolation in {"bilinear", "bicubic"}
    if not smooth and side != images.shape[2]:
        raise DataError(
            f"data.interpolation = {fit.interpolation!r} is for images from files, and these are arrays; set it to "
            "bilinear or bicubic"
        )
    begin = (side - size) // 2
    found = torch.empty(*images.shape[:2], size, size, dtype=images.dtype)
    for piece, place in zip(torch.split(images, READ_CHUNK), torch.split(found, READ_CHUNK), strict=True):
        scaled = F.interpolate(piece, (side, side), mode=fit.interpolation, antialias=True)
        place.copy_(scaled[:, :, begin : begin + size, begin : begin + size])
    return found


def counted(numbers: Mapping[str, int], most: int = 6) -> str:
    """Numbers of several things in words, such as "3 .gif and 1 .txt"; of many kinds, the first ones."""
    named = [f"{number:,} {what}" for what, number in numbers.items()]
    if len(named) > most:
        named[most - 1 :] = [f"{sum(list(numbers.values())[most - 1 :]):,} others"]
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
