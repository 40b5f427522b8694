"""Colour jitter: brightness, contrast, saturation and hue of each image, changed at random.

Howard. Some Improvements on Deep Convolutional Neural Network Based Image Classification. 2013. arXiv:1312.5402; ranges
as in torchvision's `ColorJitter`, which also draws the order of the four. Ours is fixed: as named above.
"""

from __future__ import annotations

from torch import Tensor

from automl_kd.data.augment import operations
from automl_kd.data.augment.operations import ONE
from automl_kd.data.counter import FIELD_BITS, draw_below, draw_words


def jitter(images: Tensor, streams: tuple[int, int], counters: Tensor, strength: float, hue: float) -> Tensor:
    """Each of three factors from 1 - `strength` to 1 + `strength`, and hues turned by at most `hue` of a whole turn.

    `strength` in [0, 1], `hue` in [0, 0.5]. `streams`: keys of two words for each image.
    """
    if strength:
        words, span = draw_words(streams[0], counters), round(strength * ONE)
        for field, change in enumerate((operations.brightness, operations.contrast, operations.saturation)):
            images = change(images, ONE - span + draw_below(words, field, 2 * span + 1))
    if hue:
        drawn = draw_below(draw_words(streams[1], counters), 0, 1 << FIELD_BITS)
        images = operations.shift_hue(images, (drawn.float() / (1 << (FIELD_BITS - 1)) - 1) * hue)
    return images
