"""Images as the networks see them: cropped, mirrored and normalised in batches, on the device of their split.

What happens to an image in an epoch depends on (seed, epoch, its index) alone, through `counter`: it is the same in
any batch, order or process, and on any device bit for bit. So a run that was interrupted continues with the views it
would have had, and a teacher's outputs can be stored once for all students.

Nothing here waits for the device, as long as `rows` are on it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd.data.counter import draw_below, draw_words, key
from automl_kd.data.dataset import Dataset, Split

ORDER, VIEW = 11, 12  # the first word of each stream's key, apart from those of the division


def epoch_order(count: int, *, seed: int, epoch: int) -> Tensor:
    """The rows 0 to count - 1 as epoch number `epoch` visits them: int64 (count,), on the CPU, equal everywhere."""
    return torch.argsort(draw_words(key(ORDER, seed, epoch), torch.arange(count)), stable=True)


def train_view(dataset: Dataset, split: Split, rows: Tensor, *, seed: int, epoch: int, augment: str) -> Tensor:
    """float32 (len(rows), channels, height, width): the images at `rows`, int64, as `epoch` sees them.

    `augment`: "none", "crop" (a window of the image's size out of the image with `dataset.pad` black pixels around
    it), "crop-flip" (and mirrored half of the time), or "auto" for what the dataset recommends.
    """
    wanted = dataset.augment if augment == "auto" else augment
    if wanted not in ("none", "crop", "crop-flip"):
        raise ValueError(f"augment must be auto, none, crop or crop-flip, got {augment!r}")
    if wanted == "none":
        return plain_view(dataset, split, rows)
    drawn = draw_words(key(VIEW, seed, epoch), split.index[rows])
    places = 2 * dataset.pad + 1
    down, right = draw_below(drawn, 0, places), draw_below(drawn, 1, places)
    mirror = draw_below(drawn, 2, 2) if wanted == "crop-flip" else torch.zeros_like(drawn)
    return normalize_images(dataset, crop_windows(split.images[rows], dataset.pad, down, right, mirror))


def plain_view(dataset: Dataset, split: Split, rows: Tensor) -> Tensor:
    """float32 (len(rows), channels, height, width): the images at `rows`, int64, as they are measured."""
    return normalize_images(dataset, split.images[rows])


def crop_windows(images: Tensor, pad: int, down: Tensor, right: Tensor, mirror: Tensor) -> Tensor:
    """Of each image, framed by `pad` zeros, the window that begins at row `down` and column `right`.

    `mirror` is 1 where the window's columns are read backwards, else 0; all three are int64 (n,).
    """
    n, channels, height, width = images.shape
    y = torch.arange(height, device=images.device)
    x = torch.arange(width, device=images.device)
    columns = x + mirror[:, None] * (width - 1 - 2 * x)
    positions = (down[:, None] + y)[:, :, None] * (width + 2 * pad) + (right[:, None] + columns)[:, None, :]
    # One gather on flattened images, its positions shared by the channels, was the fastest of six ways measured.
    framed = F.pad(images, (pad, pad, pad, pad)).flatten(2)
    return framed.gather(2, positions.view(n, 1, -1).expand(-1, channels, -1)).view_as(images)


def normalize_images(dataset: Dataset, images: Tensor) -> Tensor:
    """Bytes to `(value / 255 - mean) / std`, as one product and one sum that every device rounds the same way."""
    out = images.to(torch.float32)
    # Channel by channel: plain numbers travel with the kernel, where a tensor of them would first be copied over.
    for channel, (mean, std) in enumerate(zip(dataset.mean, dataset.std, strict=True)):
        out[:, channel].mul_(1 / (255 * std)).sub_(mean / std)
    return out
