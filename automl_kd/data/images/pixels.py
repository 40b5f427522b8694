"""One image file as eight-bit colour, whatever its depth, transparency, orientation and colour space.

Values are scaled by the range that the file states: 16 and 12 bits to all of 0 to 255, floats from 0 to 1. Where
`data.max_value` is set, it is the end of that range for all images of more than 8 bits. What is transparent shows
white. EXIF's orientation is followed. Of an animation the first picture is read; a TIFF of several pages is refused.
"""

from __future__ import annotations

import io
from typing import IO, Any

import numpy as np
from PIL import Image

from automl_kd import files
from automl_kd.data.encoded.ranges import WHOLE_FILE, EncodedImages, cannot_read
from automl_kd.errors import DataError, FileError

ORIENTATION, PAGE_KIND, BITS, PHOTOMETRIC = 274, 254, 258, 262
"""Tags of EXIF and TIFF."""

REDUCED = 1 | 4
"""Kinds of TIFF pages that are no pages of their own: smaller copies and masks."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each orientation."""


def decode_image(handle: IO[bytes], name: str, max_value: float = 0.0) -> Image.Image:
    """The image in an open file, or in bytes, that errors call `name`, in mode RGB.

    `DataError` if it is none, is damaged or states no range of its values. `max_value`: see above.
    """
    try:
        with Image.open(handle) as image:
            return in_colour(image, name, max_value)
    except DataError:
        raise
    except Exception as error:  # Pillow's readers raise whatever damaged bytes lead them to
        raise undecodable(name) from error


def in_colour(image: Image.Image, name: str, max_value: float = 0.0) -> Image.Image:
    """An open image, or one that was made, as `decode_image` returns it."""
    try:
        require_one_page(name, image)
        limit = range_of(name, image, max_value)
        image.load()
        picture = image if limit is None else scale_depth(name, image, limit)
        return opaque(upright(picture, image))
    except DataError:
        raise
    except Exception as error:  # likewise
        raise undecodable(name) from error


def undecodable(name: str) -> DataError:
    return DataError(f"{name} could not be decoded as an image; replace or remove it")


def read_encoded(images: EncodedImages, row: int, max_value: float = 0.0) -> Image.Image:
    """The image at `row`; as `decode_image`."""
    with open_encoded(images, row) as handle:
        return decode_image(handle, images.called(row), max_value)


def open_encoded(images: EncodedImages, row: int) -> IO[bytes]:
    """The encoded bytes of the image at `row`, to be read. `DataError` if they are not there."""
    if images.length[row] != WHOLE_FILE:
        return io.BytesIO(images.read(row))
    path = images.path(row)
    try:
        return files.open_file(path)
    except FileError as error:
        raise cannot_read(path, error) from error


def is_deep(images: EncodedImages, row: int) -> bool:
    """Whether the image at `row` has more than 8 bits for a value, by its header."""
    try:
        with open_encoded(images, row) as handle, Image.open(handle) as image:
            return deep_grey(image) or deep_colour(image)
    except Exception:  # as above; the reader of its pixels reports what is wrong
        return False


def brightest(images: EncodedImages, row: int) -> float:
    """The largest value of a deep image as a part of its range, in [0, 1]."""
    with open_encoded(images, row) as handle, Image.open(handle) as image:
        limit = range_of(images.called(row), image, 0.0)
        image.load()
        values = np.asarray(image)
        return float(values.max()) / (limit or 255.0)


def require_one_page(name: str, image: Image.Image) -> None:
    if image.format != "TIFF" or getattr(image, "n_frames", 1) == 1:
        return
    pages = 0
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        pages += not tags_of(image).get(PAGE_KIND, 0) & REDUCED
    image.seek(0)
    if pages > 1:
        raise DataError(f"{name} has {pages} pages, and which of them is meant is not known; make a file of each")


def tags_of(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})


def deep_grey(image: Image.Image) -> bool:
    return image.mode[0] in "IF"


def deep_colour(image: Image.Image) -> bool:
    """Whether Pillow will drop the lower half of each value, as it does for 16-bit colour."""
    return not deep_grey(image) and any("16" in raw_mode(one) for one in tiles_of(image))


def tiles_of(image: Image.Image) -> Any:
    """How its parts are encoded; none of an image that was loaded, or came from no file."""
    return getattr(image, "tile", ())


def raw_mode(tile: Any) -> str:
    first = tile[3][0] if isinstance(tile[3], tuple) and tile[3] else tile[3]
    return first if isinstance(first, str) else ""


def range_of(name: str, image: Image.Image, max_value: float) -> float | None:
    """The value that is white, for an image of more than 8 bits that Pillow does not scale; None for others."""
    if deep_colour(image) and max_value not in {0.0, 65535.0}:
        raise DataError(
            f"{name} has 16 bits for each colour, of which the upper 8 are read, so data.max_value = {max_value:g} "
            "cannot be followed; save such images with 8 bits for each colour"
        )
    if not deep_grey(image):
        return None
    if max_value:
        return max_value
    if image.mode == "F":
        return 1.0
    bits = tags_of(image).get(BITS, (16,))[0]
    signed = any(raw_mode(one).endswith("S") for one in tiles_of(image))
    if bits > 16 or signed:
        raise DataError(
            f"{name} holds {'signed ' * signed}integers of {bits} bits, which state no white; set data.max_value to "
            "the largest value that there can be"
        )
    return float(2**bits - 1)


def scale_depth(name: str, image: Image.Image, limit: float) -> Image.Image:
    """A deep grey image with values 0 to `limit` spread over 0 to 255."""
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{name} has values that are not finite; replace or remove it")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > limit:
        advice = "shift them to begin at 0" if low < 0 else "set data.max_value to the largest that there can be"
        raise DataError(
            f"{name} has values from {low:g} to {high:g}, and 0 to {limit:g} are read as black to white; {advice}"
        )
    if tags_of(image).get(PHOTOMETRIC) == 0:  # white is zero
        values = limit - values
    return Image.fromarray(np.rint(values * (255 / limit)).astype(np.uint8))


def upright(picture: Image.Image, source: Image.Image) -> Image.Image:
    """`picture` turned by the EXIF data of `source`; Pillow turns TIFF itself."""
    turn = turn_of(source)
    return picture if turn is None else picture.transpose(turn)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright, by its EXIF data; None if it is."""
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # as above; damaged remarks do not make a damaged image
        return None


def opaque(picture: Image.Image) -> Image.Image:
    """In colour, with white behind what is transparent."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    ground = Image.new("RGB", layer.size, (255, 255, 255))
    ground.paste(layer, mask=layer.getchannel("A"))
    return ground
