"""Views of encoded images as bytes, one image at a time: what every thread and process of the decoding calls."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from automl_kd.data.encoded.ranges import EncodedImages
from automl_kd.data.images.decode import RESAMPLING, center_square
from automl_kd.data.stream.decoder import DecodeMode, decode_pixels, decode_reduced, factor_below, plain_jpeg_size
from automl_kd.data.stream.plan import EpochCrops, ViewPlan
from automl_kd.errors import DataError

Planes: TypeAlias = tuple[bytes, bytes, bytes]
"""Red, green and blue of a view, height * width bytes each."""

RowNumbers = np.ndarray[Any, np.dtype[np.int64]]


class ViewMaker:
    """Views of `images`, whose views are drawn by the numbers `index`, int64 (n,). `max_value`: as of `read_image`."""

    def __init__(
        self, images: EncodedImages, index: RowNumbers, plan: ViewPlan, max_value: float, mode: DecodeMode
    ) -> None:
        self.images, self.index, self.plan, self.max_value, self.mode = images, index, plan, max_value, mode

    def crops(self, *, seed: int, epoch: int) -> EpochCrops:
        return EpochCrops(self.plan, seed=seed, epoch=epoch)

    def planes(self, row: int, crops: EpochCrops) -> Planes:
        """The view of the image at `row`. `DataError` names an image that cannot be read or decoded."""
        content, name = self.images.read(row), self.images.called(row)
        view = self.crop(content, name, int(self.index[row]), crops) if self.plan.random else self.middle(content, name)
        red, green, blue = (channel.tobytes() for channel in view.split())
        return red, green, blue

    def crop(self, content: bytes, name: str, index: int, crops: EpochCrops) -> Image.Image:
        plan, size = self.plan, plain_jpeg_size(content) if self.mode == "scaled" else None
        filter_, wanted = RESAMPLING[plan.interpolation], (plan.width, plan.height)
        window = None if size is None else crops.window(index, *size)
        if window and (factor := factor_below(min(window.width / plan.width, window.height / plan.height))) > 1:
            view = resize_part(decode_reduced(content, name, factor), window.box, factor, wanted, filter_)
        else:
            pixels = decode_pixels(content, name, self.max_value)
            window = crops.window(index, pixels.shape[1], pixels.shape[0])
            left, top, right, bottom = window.box
            view = Image.fromarray(pixels[top:bottom, left:right]).resize(wanted, filter_)
        return view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if window.mirror else view

    def middle(self, content: bytes, name: str) -> Image.Image:
        plan, fit = self.plan, self.plan.fit
        size = plain_jpeg_size(content) if self.mode == "scaled" and plan.resized else None
        if size is not None and (factor := factor_below(min(size) / fit.scaled_side)) > 1:
            return center_square(decode_reduced(content, name, factor), fit)
        picture = Image.fromarray(decode_pixels(content, name, self.max_value))
        if plan.resized:
            return center_square(picture, fit)
        if picture.size != (plan.width, plan.height):
            raise DataError(
                f"{name} has {picture.height}x{picture.width} pixels where another has {plan.height}x{plan.width}; set "
                "data.resolution, to which all are then resized"
            )
        return picture


def resize_part(
    reduced: Image.Image,
    box: tuple[int, int, int, int],
    factor: int,
    wanted: tuple[int, int],
    filter_: Image.Resampling,
) -> Image.Image:
    """The part of a picture within `box`, given where it lies in the picture before it was reduced by `factor`.

    Filters see pixels that lie in the box or are cut by its edges. Pillow's own `box` lets them see what is around.
    """
    left, top, right, bottom = box[0] // factor, box[1] // factor, -(-box[2] // factor), -(-box[3] // factor)
    x, y = left * factor, top * factor
    inner = ((box[0] - x) / factor, (box[1] - y) / factor, (box[2] - x) / factor, (box[3] - y) / factor)
    return reduced.crop((left, top, right, bottom)).resize(wanted, filter_, box=inner)
