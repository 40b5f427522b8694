"""A data set ready for use: three splits of images as bytes or of texts as tokens, and how they are to be seen.

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
import torch.nn.functional as F
from torch import Tensor

from automl_kd.data.encoded.marks import identity_of_marks, sorted_marks
from automl_kd.data.encoded.ranges import NumberArray
from automl_kd.data.stream.decoder import decoder_identity
from automl_kd.data.streamed import StreamedImages
from automl_kd.errors import DataError
from automl_kd.space import InputShape, TextShape
from automl_kd.tasks import CLASSIFICATION, Task

Augment = Literal["none", "crop", "crop-flip"]

DIGEST_CHUNK = 4096

Transform = Callable[[Tensor, Tensor], Tensor]
"""From uint8 images (n, channels, height, width) and a random word, int64 (n,), of each to other such images."""


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs, their labels, and index int64 (n,), all on one device.

    `inputs`: images, uint8 (n, channels, height, width), or texts, int32 (n, longest), whose tokens are filled up with
    padding. `labels`: numbers of classes, int64 (n,), or of other tasks float32 (n, outputs).
    `streamed`: of images that are not in memory, where they come from; `inputs` has their shape then and no bytes.
    `lengths`: of texts, how many tokens each has, int64 (n,), on the processor; None of images.

    `index` is the position of each image in the set it came from, unique within a split; training and validation images
    share one numbering. Views and a teacher's stored outputs are known by it, whatever else the split holds.
    """

    inputs: Tensor
    labels: Tensor
    index: Tensor
    streamed: StreamedImages | None = None
    lengths: Tensor | None = None

    def __post_init__(self) -> None:
        given, count = f"got {self.inputs.dtype} {tuple(self.inputs.shape)}", self.inputs.shape[:1]
        if self.lengths is None and (self.inputs.dtype != torch.uint8 or self.inputs.ndim != 4):
            raise ValueError(f"images must be uint8 (n, channels, height, width), {given}")
        if self.lengths is not None and (self.inputs.dtype != torch.int32 or self.inputs.ndim != 2):
            raise ValueError(f"texts must be int32 (n, longest), {given}")
        if self.labels.dtype == torch.float32 and self.labels.ndim == 2 and self.labels.shape[:1] == count:
            numbers = [("index", self.index)]
        else:
            numbers = [("labels", self.labels), ("index", self.index)]
        for name, values in numbers:
            if values.dtype != torch.int64 or values.shape != count:
                raise ValueError(
                    f"{name} must be int64 ({len(self.inputs)},), got {values.dtype} {tuple(values.shape)}"
                )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | Tensor) -> Split:
        """A slice shares memory with this split. `rows`: a slice, or int64 positions on the device of the split."""
        if self.streamed is not None:
            return Split.of_streamed(self.streamed[rows], self.labels[rows], self.index[rows])
        lengths = self.lengths
        if lengths is not None:
            lengths = lengths[rows.cpu() if isinstance(rows, Tensor) else rows]
        return Split(self.inputs[rows], self.labels[rows], self.index[rows], lengths=lengths)

    def to(self, device: torch.device | str) -> Split:
        if self.streamed is not None:
            return Split.of_streamed(self.streamed.to(device), self.labels.to(device), self.index.to(device))
        return Split(self.inputs.to(device), self.labels.to(device), self.index.to(device), lengths=self.lengths)

    @staticmethod
    def of_streamed(streamed: StreamedImages, labels: Tensor, index: Tensor) -> Split:
        return Split(torch.empty(streamed.shape, dtype=torch.uint8, device="meta"), labels, index, streamed)

    @staticmethod
    def joined(parts: Sequence[Split]) -> Split:
        """All images of splits on one device, in their order."""
        labels, index = (torch.cat([getattr(one, name) for one in parts]) for name in ("labels", "index"))
        if streamed := [one.streamed for one in parts if one.streamed is not None]:
            return Split.of_streamed(StreamedImages.joined(streamed), labels, index)
        lengths = [one.lengths for one in parts if one.lengths is not None]
        inputs = torch.cat([one.inputs for one in parts])
        return Split(inputs, labels, index, lengths=torch.cat(lengths) if lengths else None)

    @property
    def row_device(self) -> torch.device:
        """Where rows are expected: on the processor for images that are decoded there and for texts, whose lengths are
        there; else beside the images.
        """
        return self.labels.device if self.streamed is None and self.lengths is None else torch.device("cpu")

    @property
    def noun(self) -> str:
        """What its inputs are called in sentences."""
        return "images" if self.lengths is None else "texts"

    def tokens_at(self, rows: Tensor) -> Tensor:
        """int64 (len(rows), length): the texts at `rows`, as long as the longest of them."""
        assert self.lengths is not None
        rows = rows.cpu()
        return self.inputs[:, : self.longest(rows)][rows.to(self.inputs.device, non_blocking=True)].long()

    def longest(self, rows: Tensor) -> int:
        """How many tokens the longest of the texts at `rows` has."""
        assert self.lengths is not None
        return int(self.lengths[rows.cpu()].max())

    def in_order(self, rows: Tensor) -> Tensor:
        """`rows`, of texts the longest first, so that those of a batch are about equally long."""
        if self.lengths is None:
            return rows
        return rows[self.lengths[rows.cpu()].argsort(descending=True, stable=True).to(rows.device)]

    def pixels_at(self, rows: Tensor, epoch: int = 0) -> Tensor:
        """uint8 (len(rows), channels, height, width): the images at `rows`, as they are measured.

        `epoch`: in whose order they are asked for, which foresees them.
        """
        return self.inputs[rows] if self.streamed is None else self.streamed.middles(rows, epoch)

    def pieces(self, size: int) -> Iterator[Tensor]:
        """uint8 (at most `size`, channels, height, width): all images in memory, or a sample of streamed ones."""
        yield from torch.split(self.inputs, size) if self.streamed is None else self.streamed.pieces()


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
    `task`: what is asked of the inputs.
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
    task: Task = CLASSIFICATION

    @property
    def student_shape(self) -> InputShape:
        """What a student must accept and return."""
        size = self.student_size
        return replace(self.shape, height=size, width=size) if size else self.shape

    @property
    def splits(self) -> dict[str, Split]:
        return {"training": self.train, "validation": self.validation, "test": self.test}

    def __post_init__(self) -> None:
        if self.task.labels_are_classes:
            require_classes(self.name, self.shape.classes)
        for name, split in self.splits.items():
            require_inputs(self.name, f"{name} {split.noun}", len(split))
            if split.lengths is None and tuple(split.inputs.shape[1:]) != (
                self.shape.channels,
                self.shape.height,
                self.shape.width,
            ):
                raise DataError(
                    f"{self.name} has {name} images of {as_size(split.inputs)}, wanted are "
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

    def join_inputs(self, parts: Sequence[Tensor]) -> Tensor:
        """Inputs of several batches as one; texts are filled up to the longest of them."""
        if not isinstance(self.shape, TextShape):
            return torch.cat(list(parts))
        longest = max(one.shape[1] for one in parts)
        return torch.cat([self.fill_up(one, longest) for one in parts])

    def inputs_among(self, inputs: Tensor, split: Split, rows: Tensor) -> Tensor:
        """`inputs` as they are in a batch of all that are at `rows` of the split, of which they may be a part.

        Texts are filled up to the longest of the batch, so that maps of tokens are equal in size in all its parts.
        """
        return inputs if split.lengths is None else self.fill_up(inputs, split.longest(rows))

    def fill_up(self, tokens: Tensor, length: int) -> Tensor:
        """Texts, int64 (n, any length), with padding behind them up to `length`; longer ones as they are."""
        assert isinstance(self.shape, TextShape)
        missing = length - tokens.shape[1]
        return F.pad(tokens, (0, missing), value=self.shape.padding) if missing > 0 else tokens

    @cached_property
    def for_transfer(self) -> Dataset:
        """The set whose training images are all that a teacher can be asked about."""
        return self if self.transfer is None else replace(self, train=self.transfer)


def require_classes(name: str, classes: int) -> None:
    if classes < 2:
        raise DataError(f"{name} has {classes} class; at least 2 are needed, add another one")


def require_inputs(name: str, what: str, count: int) -> None:
    if count < 1:
        raise DataError(f"{name} has no {what}; at least one is needed, add some")


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
        step = max(1, math.ceil(split.inputs.numel() / HASHED))
        whole.update(split.inputs[::step].cpu().contiguous().numpy().data)
    return whole.hexdigest()


@dataclass(frozen=True, eq=False)
class Batch:
    """Training images as a network sees them, on the device: what a loss may look at besides the networks' outputs.

    `inputs`: float32 (batch, channels, height, width); of texts int64 (batch, length). `labels`: as in `Split`, and
    `UNLABELLED` of images without one.
    `index`: int64 (batch,), the images' positions in their set, the same in every epoch. `epoch`: counted from 1.
    `part`: the run's number (`training.batches.run_number`) and the batch's in its epoch, from 0; a piece of a batch
    adds its numbers. With the epoch they decide which images there are, in what order. Empty for another kind of batch.
    `parts`: into how many parts of equal size a process group has divided the batch, of which this is one.
    `second_labels`, `share`: of mixed images, the labels of those that were mixed in, and the share of `labels`, in
    [0, 1]. A mix with an image that has no label has none. None where nothing is mixed. `task`: of the set.
    """

    inputs: Tensor
    labels: Tensor
    index: Tensor
    epoch: int
    part: tuple[int, ...] = ()
    parts: int = 1
    second_labels: Tensor | None = None
    share: float = 1.0
    task: Task = CLASSIFICATION

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
