"""Whether images of more than 8 bits fill the range that they state: 12 bits in a file of 16 would be all dark."""

from __future__ import annotations

from pathlib import Path

from automl_kd.data.dataset import DIGEST_CHUNK, Split
from automl_kd.data.encoded.ranges import EncodedImages
from automl_kd.data.images.pixels import brightest, is_deep
from automl_kd.errors import DataError

DIM = 16
"""The brightest byte of an image whose values stay within a sixteenth of their range: 4,095 of 65,535."""


def require_depth(path: Path, images: EncodedImages, split: Split, max_value: float) -> None:
    """`DataError` if `data.max_value` should have been given, or was for nothing.

    `images`: those of `split`, which are those of training, as they are encoded. `path`: what errors call the set.
    """
    if max_value:
        if not any(is_deep(images, row) for row in range(len(images))):
            raise DataError(
                f"data.max_value = {max_value:g} is for images of more than 8 bits, and none of those to train on in "
                f"{path} has more; drop it"
            )
        return
    if any(int(piece.max()) > DIM for piece in split.pieces(DIGEST_CHUNK)):
        return
    deep = (row for row in range(len(images)) if is_deep(images, row))
    if max((brightest(images, row) for row in deep), default=1.0) <= 4095 / 65535:
        raise DataError(
            f"the images in {path} have more than 8 bits, but no pixel of those to train on exceeds a sixteenth of the "
            "range that its file states (4,095 of 65,535), so that all would be dark; set data.max_value to the "
            "largest value that there can be, such as 4095 for 12 bits"
        )
