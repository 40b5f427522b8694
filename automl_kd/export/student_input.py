"""Images as a trained student takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from automl_kd.data import Dataset
from automl_kd.data.fit import Fit
from automl_kd.data.images.decode import center_square
from automl_kd.data.images.pixels import in_colour
from automl_kd.errors import DataError
from automl_kd.models.black_box.graph import LOGITS_NAME
from automl_kd.models.input_adapter import resize_batch
from automl_kd.space import InputShape, read_shape
from automl_kd.spec import DataSpec

CHANNEL_ORDERS = {1: "grey", 3: "RGB"}

PROBABILITIES_NAME = "probabilities"
"""What graphs that take bytes return."""


@dataclass(frozen=True)
class StudentInput:
    """Called with a PIL image or a batch of uint8, it returns what a student takes.

    `shape`: of an image. `mean`, `std`: of each channel, as fractions of white. `fit`: how the square is made of a
    picture; where its size is larger than the student's, which saw views that were made for a larger teacher, the
    student's is made of that one. `max_value`: what is white in a picture of more than 8 bits, see `DataSpec`.
    """

    shape: InputShape
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Fit
    max_value: float = 0.0

    @staticmethod
    def of(spec: DataSpec, dataset: Dataset) -> StudentInput:
        square = dataset.shape.height if dataset.shape.height == dataset.shape.width else 0
        return StudentInput(dataset.student_shape, dataset.mean, dataset.std, Fit.of(spec, square), spec.max_value)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> StudentInput:
        """As `to_record` wrote it; `KeyError`, `TypeError` or `ValueError` for another record."""
        shape = read_shape(record["shape"])
        moments, white = (tuple(record["mean"]), tuple(record["std"])), float(record.get("max_value", 0.0))
        return StudentInput(shape, *moments, Fit(**record["fit"]), white)

    def to_record(self) -> dict[str, Any]:
        moments = {"mean": self.mean, "std": self.std}
        return {"shape": asdict(self.shape), **moments, "fit": asdict(self.fit), "max_value": self.max_value}

    noun: ClassVar[str] = "images"
    pipeline: ClassVar[str] = "image-classification"
    names: ClassVar[tuple[str, ...]] = ("images",)
    example_name: ClassVar[str] = "picture"
    example_note: ClassVar[str] = "picture: of PIL"
    program_line: ClassVar[str] = (
        "`python run.py photo.jpg` names the class of image files; it needs onnxruntime, numpy and Pillow alone."
    )

    @property
    def summary(self) -> str:
        return f"images of {self.shape.height} by {self.shape.width} pixels"

    def describe_graph(self, takes_bytes: bool) -> str:
        """What a graph takes and returns."""
        shape = self.shape
        if takes_bytes:
            return f"uint8 (n, {shape.height}, {shape.width}, {shape.channels}); {PROBABILITIES_NAME} come out"
        return f"float32 (n, {shape.channels}, {shape.height}, {shape.width}), normalised; {LOGITS_NAME} come out"

    @property
    def steps(self) -> str:
        """What an image goes through, in words, step by step."""
        fit, shape = self.fit, self.shape
        steps = [f"The image is read as {CHANNEL_ORDERS.get(shape.channels, f'{shape.channels} channels')}, upright."]
        if fit.size and fit.resize == "squash":
            steps.append(f"It is scaled to {fit.size} by {fit.size} pixels, whatever its shape ({fit.interpolation}).")
        elif fit.size:
            steps.append(
                f"Its shorter side is scaled to {fit.scaled_side} pixels ({fit.interpolation}), and its middle of "
                f"{fit.size} by {fit.size} is cut out."
            )
        else:
            steps.append(f"It has {shape.height} by {shape.width} pixels and is not resized.")
        steps.append("Bytes are divided by 255; of each channel the mean is subtracted, and its deviation divides.")
        if fit.size and fit.size != shape.height:
            steps.append(f"What results is reduced to {shape.height} by {shape.width} (bilinear, antialiased).")
        return " ".join(steps)

    def describe(self) -> dict[str, Any]:
        """Of preprocessing.json, for whoever reads it without this library."""
        order = CHANNEL_ORDERS.get(self.shape.channels, "as stored")
        return {"size": [self.shape.height, self.shape.width], "channel_order": order}

    def write_files(self, folder: Path) -> None:
        """Nothing but the record is needed."""

    @property
    def scales(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Of each channel, what bytes are multiplied by and what is then subtracted, as `data.views` does."""
        moments = list(zip(self.mean, self.std, strict=True))
        return tuple(1 / (255 * std) for _, std in moments), tuple(mean / std for mean, std in moments)

    def __call__(self, images: Image.Image | Tensor | np.ndarray[Any, Any]) -> Tensor:
        """float32 (batch, channels, height, width), normalised; a single image is a batch of one.

        `images`: a PIL image, whose shorter side is scaled and whose middle is cut out where its size differs; or
        uint8 (batch, channels, height, width), or (batch, height, width, channels) of numpy, of the student's size.
        `DataError` for anything else.
        """
        pixels = self.read_picture(images) if isinstance(images, Image.Image) else self.read_batch(images)
        factor, shift = (torch.tensor(one, device=pixels.device)[:, None, None] for one in self.scales)
        found = pixels * factor - shift
        return resize_batch(found, self.shape.height) if self.fit.size else found

    def read_picture(self, picture: Image.Image) -> Tensor:
        """uint8 (1, channels, height, width): `picture` as images of training are read from their files."""
        shape = self.shape
        kept = in_colour(picture, "the image", self.max_value).convert("L" if shape.channels == 1 else "RGB")
        if self.fit.size and ((kept.height, kept.width) != (self.fit.size, self.fit.size) or self.fit.crop < 1):
            kept = center_square(kept, self.fit)
        elif not self.fit.size and (kept.height, kept.width) != (shape.height, shape.width):
            raise DataError(
                f"the image has {kept.height}x{kept.width} pixels, and the student takes {shape.height}x{shape.width}; "
                "resize it"
            )
        array = np.array(kept)
        return torch.from_numpy(array if array.ndim == 3 else array[:, :, None]).permute(2, 0, 1)[None]

    def read_batch(self, images: Tensor | np.ndarray[Any, Any]) -> Tensor:
        shape = self.shape
        wanted = (shape.channels, shape.height, shape.width)
        batch = images
        if isinstance(images, np.ndarray):
            if images.shape[1:] == (shape.height, shape.width) and shape.channels == 1:
                images = images[..., None]
            last = images.ndim == 4 and images.shape[1:] == (shape.height, shape.width, shape.channels)
            batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2) if last else images))
        if not isinstance(batch, Tensor) or batch.dtype != torch.uint8 or tuple(batch.shape[1:]) != wanted:
            got = f"{batch.dtype} of shape {tuple(batch.shape)}" if isinstance(batch, Tensor) else type(batch).__name__
            raise DataError(
                f"images are {got}; give a PIL image or a batch of uint8 of shape (n, {', '.join(map(str, wanted))})"
            )
        return batch
