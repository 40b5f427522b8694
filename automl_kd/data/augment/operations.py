"""Operations on uint8 images (n, channels, height, width), each image by numbers of its own.

What they do is defined by Cubuk, Zoph, Mané, Vasudevan, Le. AutoAugment. 2018. arXiv:1805.09501, table 6, and carried
out as Pillow and torchvision carry it out, in whole numbers: factors are multiples of 2**-16 and results are rounded
down, so that single pixels differ from theirs by one shade. Geometry takes the nearest pixel and fills with black, the
default of torchvision's policies. `shift_hue` alone computes in float32, by operations that all devices round equally.
"""

from __future__ import annotations

import torch
from torch import Tensor

ONE = 1 << 16
"""A factor of 1."""

LUMA = (19595, 38470, 7471)
"""Weights of red, green and blue in a shade of grey, as in Pillow; their sum is `ONE`."""


def blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """`other` + `factor` (images - other), clamped to bytes; `factor`: int (n,) in units of 1 / `ONE`."""
    own = images.int()
    moved = (other.int() * ONE + (own - other.int()) * factor.int().view(-1, 1, 1, 1)) >> 16
    return moved.clamp_(0, 255).to(torch.uint8)


def grey(images: Tensor) -> Tensor:
    """int32 (n, 1, height, width): the shade of each pixel; of images without three colours, the mean of channels."""
    if images.shape[1] != 3:
        return images.int().sum(1, keepdim=True) // images.shape[1]
    red, green, blue = images.int().unbind(1)
    return ((red * LUMA[0] + green * LUMA[1] + blue * LUMA[2] + ONE // 2) >> 16)[:, None]


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    return blend(images, images.new_zeros(()), factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Towards, or away from, the image's mean shade of grey."""
    shades = grey(images).flatten(1)
    mean = (2 * shades.sum(1) + shades.shape[1]) // (2 * shades.shape[1])
    return blend(images, mean.view(-1, 1, 1, 1), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    return images if images.shape[1] == 1 else blend(images, grey(images), factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Towards, or away from, the mean of nine pixels of which the middle one counts five times; edges stay."""
    height, width = images.shape[2:]
    smooth = images.int()
    if min(height, width) > 2:
        own = images.int()
        rows = own[:, :, :-2] + own[:, :, 1:-1] + own[:, :, 2:]
        around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * own[:, :, 1:-1, 1:-1]
        smooth = own.clone()
        smooth[:, :, 1:-1, 1:-1] = (around + 6) // 13
    return blend(images, smooth, factor)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest `bits`, int (n,) in 0 to 8, of each byte."""
    mask = (256 - (1 << (8 - bits.int()))).view(-1, 1, 1, 1)
    return (images.int() & mask).to(torch.uint8)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert what is `threshold`, int (n,), or brighter."""
    return torch.where(images.int() >= threshold.int().view(-1, 1, 1, 1), 255 - images, images)


def autocontrast(images: Tensor, _unused: Tensor) -> Tensor:
    """Stretch each channel from black to white; one of a single shade stays."""
    shades = images.flatten(2).int()
    low, high = shades.amin(2, keepdim=True), shades.amax(2, keepdim=True)
    spread = high - low
    stretched = torch.where(spread > 0, (shades - low) * 255 // spread.clamp(min=1), shades)
    return stretched.to(torch.uint8).view_as(images)


def equalize(images: Tensor, _unused: Tensor) -> Tensor:
    """Give each channel's shades about equal frequency, as Pillow does; one of a single shade stays."""
    count, channels = images.shape[:2]
    shades = images.flatten(2).long()
    counts = torch.zeros(count, channels, 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(2, shades, torch.ones_like(shades))
    last = counts.gather(2, shades.amax(2, keepdim=True))
    step = (counts.sum(2, keepdim=True) - last) // 255
    below = counts.cumsum(2) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=images.device))
    return table.gather(2, shades).to(torch.uint8).view_as(images)


def move(images: Tensor, source: Tensor) -> Tensor:
    """Each pixel from another place. `source`: int64 (n, 6), a, b, c, d, e, f in units of 1 / `ONE`.

    The pixel at (x, y) comes from (a x + b y + c, d x + e y + f), rounded down; from outside of the image it is black.
    """
    channels, height, width = images.shape[1:]
    # Below 2**31 for images of up to 8,192 pixels.
    y, x = (torch.arange(size, dtype=torch.int32, device=images.device) for size in (height, width))
    y = y[:, None]
    a, b, c, d, e, f = source.int().view(-1, 6, 1, 1).unbind(1)
    column, row = (a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1).long()
    moved = images.flatten(2).gather(2, place[:, None].expand(-1, channels, -1)).view_as(images)
    return torch.where(inside[:, None], moved, moved.new_zeros(()))


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn hues by `shift`, float32 (n,), a fraction of a whole turn; images without three colours stay."""
    if images.shape[1] != 3:
        return images
    red, green, blue = colours = images.float().unbind(1)
    most, least = images.amax(1).float(), images.amin(1).float()
    spread = most - least
    divisor = torch.where(spread > 0, spread, 1.0)
    sector = torch.where(
        most == red,
        (green - blue) / divisor,
        torch.where(most == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sector = sector + 6 * shift.view(-1, 1, 1)
    found = []
    for offset, _ in zip((5, 3, 1), colours, strict=True):  # the textbook's f(n) = v - s v max(0, min(k, 4 - k, 1))
        k = (sector + offset) - 6 * ((sector + offset) / 6).floor()
        found.append(most - spread * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(found, dim=1).add_(0.5).floor_().clamp_(0, 255).to(torch.uint8)
