"""Transforms as a user may write them; named by the tests as module:attribute."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import v2

from automl_kd.data.counter import draw_below

flips = v2.Compose([v2.RandomHorizontalFlip(0.5), v2.RandomErasing(0.5, value=9)])
number = 3


def darken(images: Tensor, words: Tensor) -> Tensor:
    """Each image divided by 1 to 4."""
    return images // (1 + draw_below(words, 0, 4)).view(-1, 1, 1, 1).to(torch.uint8)


def floats(images: Tensor, words: Tensor) -> Tensor:
    return images / 255


def fails(images: Tensor, words: Tensor) -> Tensor:
    raise RuntimeError("no such colour")
