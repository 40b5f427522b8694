"""A data set ready for use: three splits of images as bytes, and how they are to be seen.

The bytes of a set that fits live on the training device, where views are computed batch by batch; those of a larger one
are decoded as they are needed (`StreamedImages`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from automl_kd.data.encoded.marks import identity_of_marks, sorted_marks
from automl_kd.data.encoded.ranges import NumberArray
from automl_kd.data.stream.decoder import decoder_identity
from automl_kd.data.streamed import StreamedImages
from automl_kd.errors import DataError
from automl_kd.space import InputShape

Augment = Literal["none", "crop", "crop-flip"]

DIGEST_CHUNK = 4096

Transform = Callable[[Tensor, Tensor], Tensor]
"""From uint8 images (n, channels, height, width) and a random word, int64 (n,), of each to other such images."""

UNLABELLED = -1
"""In place of a label, of images that have none."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 (n, channels, height, width), labels int64 (n,), index int64 (n,), all on one device.

    `streamed`: of images that are not in memory, where they come from; `images` has their shape then and no bytes.

    `index` is the position of each image in the set it came from, unique within a split; training and validation images
    share one numbering. Views and a teacher's stored outputs are known by it, whatever else the split holds.
    """

    images: Tensor
    labels: Tensor
    index: Tensor
    streamed: StreamedImages | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(
                f"images must be uint8 (n, channels, height, width), got {self.images.dtype} {tuple(self.images.shape)}"
            )
        for name, values in (("labels", self.labels), ("index", self.index)):
            if values.dtype != torch.int64 or values.shape != self.images.shape[:1]:
                raise ValueError(
                    f"{name} must be int64 ({len(self.images)},), got {values.dtype} {tuple(values.shape)}"
                )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | Tensor) -> Split:
        """A slice shares memory with this split. `rows`: a slice, or int64 positions on the device of the split."""
        if self.streamed is not None:
            return Split.of_streamed(self.streamed[rows], self.labels[rows], self.index[rows])
        return Split(self.images[rows], self.labels[rows], self.index[rows])

    def to(self, device: torch.device | str) -> Split:
        if self.streamed is not None:
            return Split.of_streamed(self.streamed.to(device), self.labels.to(device), self.index.to(device))
        return Split(self.images.to(device), self.labels.to(device), self.index.to(device))

    @staticmethod
    def of_streamed(streamed: StreamedImages, labels: Tensor, index: Tensor) -> Split:
        return Split(torch.empty(streamed.shape, dtype=torch.uint8, device="meta"), labels, index, streamed)

    @staticmethod
    def joined(parts: Sequence[Split]) -> Split:
        """All images of splits on one device, in their order."""
        labels, index = (torch.cat([getattr(one, name) for one in parts]) for name in ("labels", "index"))
        if streamed := [one.streamed for one in parts if one.streamed is not None]:
            return Split.of_streamed(StreamedImages.joined(streamed), labels, index)
        return Split(torch.cat([one.images for one in parts]), labels, index)

    @property
    def row_device(self) -> torch.device:
        """Where rows are expected: on the processor for images that are decoded there, else beside the images."""
        return self.labels.device if self.streamed is None else torch.device("cpu")

    def pixels_at(self, rows: Tensor, epoch: int = 0) -> Tensor:
        """uint8 (len(rows), channels, height, width): the images at `rows`, as they are measured.

        `epoch`: in whose order they are asked for, which foresees them.
        """
        return self.images[rows] if self.streamed is None else self.streamed.middles(rows, epoch)

    def pieces(self, size: int) -> Iterator[Tensor]:
        """uint8 (at most `size`, channels, height, width): all images in memory, or a sample of streamed ones."""
        yield from torch.split(self.images, size) if self.streamed is None else self.streamed.pieces()


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits of one set.

    `shape`: of the images as they are kept, and of the classes. `student_size`: height and width of the images that
    students take, which are made of these; 0 for images as they are kept.
    `mean`, `std`: of the training images' channels, as fractions of white, in [0, 1].
    `augment`, `pad`: what training should do with these images, "auto" in a recipe: crop after padding by so many
    pixels, with or without mirroring.
    `class_names`: one for each label. `note`: what a reader of results should know of the splits, or empty.
    `made`: what "training", "validation" and "test" were made from. `passed_over`: files that were not read, by suffix
    or in words. `stamp`: names what is kept of the measures of this set; empty where they are taken anew.
    `transform`: the user's own augmentation of training images, in place of a recipe's; None where there is none.
    `transfer`: the images of `train`, and after them those without a label, which is `UNLABELLED` there: what a teacher
    can be asked about (Hinton et al. 2015 call it the transfer set). None where every image has its label.
    """

    name: str
    shape: InputShape
    train: Split
    validation: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augment
    pad: int
    class_names: tuple[str, ...]
    note: str = ""
    made: Mapping[str, str] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    stamp: str = ""
    transfer: Split | None = None
    student_size: int = 0
    transform: Transform | None = None

    @property
    def student_shape(self) -> InputShape:
        """What a student must accept and return."""
        size = self.student_size
        return replace(self.shape, height=size, width=size) if size else self.shape

    @property
    def splits(self) -> dict[str, Split]:
        return {"training": self.train, "validation": self.validation, "test": self.test}

    def __post_init__(self) -> None:
        require_classes(self.name, self.shape.classes)
        for name, split in self.splits.items():
            require_images(self.name, name, len(split))
            if tuple(split.images.shape[1:]) != (self.shape.channels, self.shape.height, self.shape.width):
                raise DataError(
                    f"{self.name} has {name} images of {as_size(split.images)}, wanted are "
                    f"{self.shape.channels}x{self.shape.height}x{self.shape.width}; make all images one size"
                )

    def to(self, device: torch.device | str) -> Dataset:
        """The same set with every split on `device`; whether there is room for it is the caller's to know."""
        moved = {name: getattr(self, name).to(device) for name in ("validation", "test")}
        if self.transfer is None:
            return replace(self, train=self.train.to(device), **moved)
        transfer = self.transfer.to(device)
        return replace(self, train=transfer[: len(self.train)], transfer=transfer, **moved)

    @property
    def unlabelled(self) -> Split | None:
        """The images without a label."""
        return None if self.transfer is None else self.transfer[len(self.train) :]

    @property
    def parts(self) -> dict[str, Split]:
        """The splits, and the images without a label, if there are such, among them."""
        if (unlabelled := self.unlabelled) is None:
            return self.splits
        return {"training": self.train, "unlabelled": unlabelled, **self.splits}

    @cached_property
    def marks(self) -> dict[str, NumberArray]:
        """Of the images of each part, where these are streamed."""
        return {
            name: sorted_marks(split.streamed.digests, split.labels.cpu().numpy())
            for name, split in self.parts.items()
            if split.streamed is not None
        }

    @cached_property
    def for_transfer(self) -> Dataset:
        """The set whose training images are all that a teacher can be asked about."""
        return self if self.transfer is None else replace(self, train=self.transfer)


def require_classes(name: str, classes: int) -> None:
    if classes < 2:
        raise DataError(f"{name} has {classes} class; at least 2 are needed, add another one")


def require_images(name: str, part: str, count: int) -> None:
    if count < 1:
        raise DataError(f"{name} has no {part} images; at least one is needed, add some")


def as_size(images: Tensor) -> str:
    return "x".join(str(length) for length in images.shape[1:])


def mean_and_std(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """See `moments_of`."""
    return moments_of(torch.split(images, DIGEST_CHUNK))


def moments_of(pieces: Iterable[Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 images (n, channels, height, width), in [0, 1].

    Counts bytes and adds in whole numbers, so every processor comes to the same, and a set larger than memory is read
    once, piece by piece; of many streamed images a sample is. A channel without any spread is given the standard
    deviation 1, so that dividing by it is harmless.
    """
    counts = torch.zeros(0, 256, dtype=torch.int64)
    for piece in pieces:
        counted = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in piece.unbind(1)])
        counts = counts + counted if len(counts) else counted
    moments = [mean_and_std_of(one) for one in counts.tolist()]
    return tuple(mean for mean, _ in moments), tuple(std or 1.0 for _, std in moments)


def mean_and_std_of(counts: Sequence[int]) -> tuple[float, float]:
    """Of the shades 0, 1/255, ..., 1, each so often."""
    number = sum(counts)
    first = sum(shade * count for shade, count in enumerate(counts))
    second = sum(shade * shade * count for shade, count in enumerate(counts))
    return first / (255 * number), math.sqrt(number * second - first * first) / (255 * number)


HASHED = 256 * 2**20
"""Bytes of a split's images that are read for its digest; of more, evenly spaced images are."""


def digest_dataset(dataset: Dataset) -> str:
    """Sixteen hex digits of what the splits hold, wherever the set lies: labels and images, of large sets a sample.

    Of streamed sets the bytes of all files count, and what decodes them; neither their names nor their order do.
    """
    if (streamed := dataset.train.streamed) is not None:
        decoder = decoder_identity(streamed.streaming.decoder)
        return identity_of_marks(repr(("streamed", dataset.shape, dataset.class_names, decoder)), dataset.marks)
    # In the words of VERSION 1 of trial keys, in which this digest is hashed.
    described = repr((dataset.shape, dataset.class_names)).replace("InputShape(", "TaskShape(", 1)
    whole = hashlib.blake2b(described.encode(), digest_size=8)
    for split in filter(None, (dataset.train, dataset.validation, dataset.test, dataset.unlabelled)):
        whole.update(split.labels.cpu().numpy().tobytes())
        step = max(1, math.ceil(split.images.numel() / HASHED))
        whole.update(split.images[::step].cpu().contiguous().numpy().data)
    return whole.hexdigest()


@dataclass(frozen=True, eq=False)
class Batch:
    """Training images as a network sees them, on the device: what a loss may look at besides the networks' outputs.

    `inputs`: float32 (batch, channels, height, width). `labels`: int64 (batch,), `UNLABELLED` of images without one.
    `index`: int64 (batch,), the images' positions in their set, the same in every epoch. `epoch`: counted from 1.
    `part`: the run's number (`training.batches.run_number`) and the batch's in its epoch, from 0; a piece of a batch
    adds its numbers. With the epoch they decide which images there are, in what order. Empty for another kind of batch.
    `parts`: into how many parts of equal size a process group has divided the batch, of which this is one.
    `second_labels`, `share`: of mixed images, the labels of those that were mixed in, and the share of `labels`, in
    [0, 1]. A mix with an image that has no label has none. None where nothing is mixed.
    """

    inputs: Tensor
    labels: Tensor
    index: Tensor
    epoch: int
    part: tuple[int, ...] = ()
    parts: int = 1
    second_labels: Tensor | None = None
    share: float = 1.0

    def __len__(self) -> int:
        return len(self.labels)

    def cut(self, pieces: int) -> list[Batch]:
        """In at most so many pieces, about equal in size and none of a single image."""
        pieces = max(1, min(pieces, len(self) // 2))
        if pieces == 1:
            return [self]
        seconds = self.labels if self.second_labels is None else self.second_labels
        cut = zip(
            *(value.tensor_split(pieces) for value in (self.inputs, self.labels, self.index, seconds)), strict=True
        )
        return [
            replace(
                self,
                inputs=inputs,
                labels=labels,
                index=index,
                part=(*self.part, pieces, place) if self.part else (),
                second_labels=None if self.second_labels is None else second_labels,
            )
            for place, (inputs, labels, index, second_labels) in enumerate(cut)
        ]
