"""Mixed images: mixup and cutmix, the same for student and teacher.

Mixup: Zhang, Cisse, Dauphin, Lopez-Paz. 2017. arXiv:1710.09412. Cutmix: Yun, Han, Oh, Chun, Choe, Yoo. 2019.
arXiv:1905.04899. That the teacher must see the mix that the student sees: Beyer, Zhai, Royer, Markeeva, Anil,
Kolesnikov. Knowledge distillation: A good teacher is patient and consistent. 2022. arXiv:2106.05237.

As in torchvision and timm, a batch is mixed in one way, by one share. Unlike there, images are mixed in pairs: with
pieces of a batch in several processes, both images of a pair are mostly in one of them, and where they are not, that
process makes its partner's view too. So the mixed batch is the same for any number of processes, bit for bit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from automl_kd.data.counter import key
from automl_kd.data.order import bucket_by_length, epoch_order
from automl_kd.spec import Recipe

MIX = 19
"""The first word of the stream's key."""


def epoch_rows(count: int, recipe: Recipe, *, seed: int, epoch: int, lengths: Tensor | None = None) -> Tensor:
    """The rows that an epoch visits, on the CPU: int64 (count,), or (count, 2) with the partner of each where images
    are mixed. `lengths`: of texts; those of a batch are then about equally long (`bucket_by_length`).

    With `recipe.repeats`, an image comes so often, one after the other, and fewer images come: Hoffer, Ben-Nun, Hubara,
    Giladi, Hoefler, Soudry. Augment Your Batch. 2020. arXiv:1901.09335. Row `r` is then view number `r // count` of
    image `r % count`.
    """
    rows = epoch_order(count, seed=seed, epoch=epoch)
    if lengths is not None:
        return bucket_by_length(rows, lengths, recipe.batch_size, seed=seed, epoch=epoch)
    if (repeats := recipe.repeats) > 1:
        rows = rows[: math.ceil(count / repeats)].repeat_interleave(repeats)[:count]
        rows = rows + count * (torch.arange(count) % repeats)
    if not recipe.mixes:
        return rows
    places = torch.arange(count)
    begin = places // recipe.batch_size * recipe.batch_size
    partners = begin + partner_places(recipe.batch_size, repeats, places.device)[places - begin]
    return torch.stack([rows, rows[torch.where(partners < count, partners, places)]], dim=1)


def partner_places(count: int, repeats: int, device: torch.device) -> Tensor:
    """The place of each image's partner among `count`, int64: the same view of the image beside it.

    One that is left over is its own partner.
    """
    places = torch.arange(count, device=device)
    partners = (places // repeats ^ 1) * repeats + places % repeats
    return torch.where(partners < count, partners, places)


class MixDraw(NamedTuple):
    """How a batch is mixed. `share`: of each image's own label, in [0, 1].

    `rectangle`: top, bottom, left and right of what comes from the partner; None where all pixels are averaged.
    """

    share: float
    rectangle: tuple[int, int, int, int] | None


def draw_mix(recipe: Recipe, size: tuple[int, int], *, seed: int, epoch: int, number: int) -> MixDraw | None:
    """How batch `number` of an epoch is mixed; None if it is not. `size`: height and width of its images."""
    rng = np.random.default_rng(key(MIX, seed, epoch, number))
    if rng.random() >= recipe.mix_probability:
        return None
    cuts = rng.random() < 0.5 if recipe.mixup and recipe.cutmix else bool(recipe.cutmix)
    alpha = recipe.cutmix if cuts else recipe.mixup
    share = float(rng.beta(alpha, alpha))
    if not cuts:
        return MixDraw(share, None)
    height, width = size
    half = 0.5 * math.sqrt(1 - share)
    y, x = int(rng.integers(height)), int(rng.integers(width))
    top, bottom = max(y - int(half * height), 0), min(y + int(half * height), height)
    left, right = max(x - int(half * width), 0), min(x + int(half * width), width)
    return MixDraw(1 - (bottom - top) * (right - left) / (height * width), (top, bottom, left, right))


def mix_images(images: Tensor, partners: Tensor, mix: MixDraw) -> Tensor:
    """float32 (n, channels, height, width), both normalised; `images` may be overwritten."""
    if mix.rectangle is None:
        # A product and a sum that round by themselves, in the same way for any number of images.
        return torch.mul(images, mix.share).add_(torch.mul(partners, 1 - mix.share))
    top, bottom, left, right = mix.rectangle
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
    return mixed
