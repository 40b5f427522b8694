"""Images as the networks see them: cropped, mirrored and normalised in batches, on the device of their split.

What happens to an image in an epoch depends on (seed, epoch, its index) alone, through `counter`: it is the same in
any batch, order or process, and on any device bit for bit. So a run that was interrupted continues with the views it
would have had, and a teacher's outputs can be stored once for all students.

Nothing here waits for the device, as long as `rows` are on it. What is the same for all batches is made once, because
a GPU that trains a small network waits for the operators to be started: the windows of an epoch (`draw_windows`), and
the numbers of a set (`ViewNumbers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd.data.counter import draw_below, draw_words, key
from automl_kd.data.dataset import Dataset, Split
from automl_kd.data.streamed import BatchOrder

VIEW = 12  # the first word of the stream's key, apart from those of `order` and of the division

PADDED = ("crop", "crop-flip")
"""Ways to augment that take a window out of a framed image."""


@dataclass(frozen=True, eq=False)
class ViewNumbers:
    """What views of a set are computed with, on one device.

    `factor`, `shift`: float32 (1, channels, 1, 1), of `normalize_images`. `places`: int64 (2, height * width), of each
    pixel of a window in a framed image, from the window's first one on; in row 1 of a mirrored window. `mean`: uint8
    (channels,), the shades nearest to the set's means.
    """

    factor: Tensor
    shift: Tensor
    places: Tensor
    mean: Tensor

    @staticmethod
    def of(dataset: Dataset, device: torch.device) -> ViewNumbers:
        shape, framed = dataset.shape, dataset.shape.width + 2 * dataset.pad
        moments = list(zip(dataset.mean, dataset.std, strict=True))
        numbers = [(1 / (255 * std), mean / std) for mean, std in moments]
        factor, shift = torch.tensor(numbers, dtype=torch.float32).to(device).view(-1, 2, 1, 1).unbind(1)
        y, x = torch.arange(shape.height)[:, None] * framed, torch.arange(shape.width)
        places = torch.stack([y + x, y + x.flip(0)]).flatten(1)
        mean = torch.tensor([round(255 * one) for one in dataset.mean], dtype=torch.uint8)
        return ViewNumbers(factor[None, ...], shift[None, ...], places.to(device), mean.to(device))


_numbers: WeakKeyDictionary[Dataset, dict[torch.device, ViewNumbers]] = WeakKeyDictionary()


def numbers_of(dataset: Dataset, device: torch.device) -> ViewNumbers:
    """Made once for each device."""
    known = _numbers.setdefault(dataset, {})
    if device not in known:
        with torch.inference_mode(False):  # they outlive the evaluation that may ask first
            known[device] = ViewNumbers.of(dataset, device)
    return known[device]


def train_view(
    dataset: Dataset,
    split: Split,
    rows: Tensor,
    *,
    seed: int,
    epoch: int,
    augment: str,
    windows: Tensor | None = None,
) -> Tensor:
    """float32 (len(rows), channels, height, width): the images at `rows`, int64, as `epoch` sees them.

    `augment`: "none", "crop" (a window of the image's size out of the image with `dataset.pad` black pixels around
    it), "crop-flip" (and mirrored half of the time), or "auto" for what the dataset recommends. `windows`: of the
    whole split in this epoch (`epoch_windows`), where they have been drawn.
    """
    if wanted_augment(dataset, augment) == "none":
        return normalize_images(dataset, split.pixels_at(rows, epoch))
    if windows is None:
        chosen = draw_windows(dataset, split.index[rows], seed=seed, epoch=epoch, augment=augment)
    else:
        chosen = windows[rows]
    places = numbers_of(dataset, split.labels.device).places
    return normalize_images(dataset, crop_windows(split.pixels_at(rows, epoch), dataset.pad, chosen, places))


def follow_rows(split: Split, batch_size: int) -> None:
    """Announce that all images will be asked for in their order."""
    if (streamed := split.streamed) is not None:
        streamed.follow(streamed.middle, BatchOrder(None, 0, batch_size, -(-len(split) // batch_size)))


def epoch_windows(dataset: Dataset, split: Split, *, seed: int, epoch: int, augment: str) -> Tensor | None:
    """The windows of all images of a split in an epoch, eight bytes of each; None where images have none."""
    if wanted_augment(dataset, augment) not in PADDED:
        return None
    return draw_windows(dataset, split.index, seed=seed, epoch=epoch, augment=augment)


def draw_windows(dataset: Dataset, index: Tensor, *, seed: int, epoch: int, augment: str) -> Tensor:
    """int32 (n, 2): of the images with these indices, where in the framed image the window begins, and whether it is
    mirrored, 1 or 0.
    """
    drawn = draw_words(key(VIEW, seed, epoch), index)
    offsets = 2 * dataset.pad + 1
    down, right = draw_below(drawn, 0, offsets), draw_below(drawn, 1, offsets)
    flips = wanted_augment(dataset, augment) == "crop-flip"
    mirror = draw_below(drawn, 2, 2) if flips else torch.zeros_like(drawn)
    return torch.stack([down * (dataset.shape.width + 2 * dataset.pad) + right, mirror], dim=1).to(torch.int32)


def wanted_augment(dataset: Dataset, augment: str) -> str:
    wanted = dataset.augment if augment == "auto" else augment
    if wanted not in ("none", *PADDED, "random-resized-crop"):
        raise ValueError(f"augment must be auto, none, crop, crop-flip or random-resized-crop, got {augment!r}")
    return wanted


def plain_view(dataset: Dataset, split: Split, rows: Tensor) -> Tensor:
    """float32 (len(rows), channels, height, width): the images at `rows`, int64, as they are measured.

    Of texts, int64 (len(rows), length).
    """
    if split.lengths is not None:
        return split.tokens_at(rows)
    return normalize_images(dataset, split.pixels_at(rows))


def crop_windows(images: Tensor, pad: int, windows: Tensor, places: Tensor) -> Tensor:
    """Of each image, framed by `pad` zeros, its window, as in `draw_windows`; `places`: as in `ViewNumbers`."""
    channels = images.shape[1]
    first, mirror = windows.unbind(1)
    positions = F.embedding(mirror, places).add_(first[:, None])
    # One gather on flattened images, its positions shared by the channels, was the fastest of six ways measured.
    framed = F.pad(images, (pad, pad, pad, pad)).flatten(2)
    return framed.gather(2, positions[:, None].expand(-1, channels, -1)).view_as(images)


def normalize_images(dataset: Dataset, images: Tensor) -> Tensor:
    """Bytes to `(value / 255 - mean) / std`, as one product and one sum that every device rounds the same way."""
    numbers = numbers_of(dataset, images.device)
    return torch.mul(images, numbers.factor).sub_(numbers.shift)
