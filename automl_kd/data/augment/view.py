"""The training images of a recipe, from the bytes that are kept to what networks take."""

from __future__ import annotations

import torch
from torch import Tensor

from automl_kd.data.augment.jitter import jitter
from automl_kd.data.augment.policies import apply_policy
from automl_kd.data.augment.rectangles import erase, random_resized_crop
from automl_kd.data.counter import draw_words, key
from automl_kd.data.dataset import Dataset, Split
from automl_kd.data.streamed import BatchOrder
from automl_kd.data.views import (
    PADDED,
    crop_windows,
    draw_windows,
    normalize_images,
    numbers_of,
    wanted_augment,
)
from automl_kd.spec import Recipe

CUT, POLICY, JITTER, ERASE, OWN = 13, 14, 15, 16, 17
"""The first word of each stream's key."""

COPIES = 40
"""Bits of a counter below the number of an image's view in its batch."""


def augmented_view(
    dataset: Dataset,
    split: Split,
    rows: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    epoch: int,
    windows: Tensor | None = None,
) -> Tensor:
    """float32 (len(rows), channels, height, width): the images at `rows` as `epoch` sees them under `recipe`.

    `rows`: int64, as in `epoch_rows`. `windows`: of the whole split in this epoch (`epoch_windows`), where they have
    been drawn. Nothing is mixed. Texts, int64 (len(rows), length), stay as they are.
    """
    if split.lengths is not None:
        return split.tokens_at(rows)
    return normalize_images(dataset, augmented_bytes(dataset, split, rows, recipe, seed, epoch, windows))


def image_rows(split: Split, rows: Tensor, recipe: Recipe) -> Tensor:
    """The rows of the split's images of which `rows`, as in `epoch_rows`, are views."""
    return rows % len(split) if recipe.repeats > 1 else rows


def image_counters(split: Split, rows: Tensor, recipe: Recipe) -> Tensor:
    """int64 (len(rows),), another for each image and view of it: by what its draws are counted."""
    counters = split.index[image_rows(split, rows, recipe)]
    return counters + ((rows // len(split)) << COPIES) if recipe.repeats > 1 else counters


def augmented_bytes(
    dataset: Dataset, split: Split, rows: Tensor, recipe: Recipe, seed: int, epoch: int, windows: Tensor | None
) -> Tensor:
    augment = wanted_augment(dataset, recipe.augment)
    if augment == "random-resized-crop" and split.streamed is not None and dataset.transform is None:
        images, counters = streamed_crops(split, rows, recipe, seed, epoch), image_counters(split, rows, recipe)
        return changed_colours(dataset, images, counters, recipe, seed, epoch)
    images = split.pixels_at(image_rows(split, rows, recipe), epoch)
    if dataset.transform is not None:
        words = draw_words(key(OWN, seed, epoch), image_counters(split, rows, recipe))
        return dataset.transform(images, words)
    if augment in PADDED and windows is not None and recipe.repeats == 1:
        images = crop_windows(images, dataset.pad, windows[rows], numbers_of(dataset, images.device).places)
        augment = "none"
    if augment == "none" and not recipe.views:
        return images
    counters = image_counters(split, rows, recipe)
    if augment == "random-resized-crop":
        images = random_resized_crop(images, key(CUT, seed, epoch), counters, recipe.crop_scale, recipe.crop_ratio)
    elif augment in PADDED:
        drawn = draw_windows(dataset, counters, seed=seed, epoch=epoch, augment=augment)
        images = crop_windows(images, dataset.pad, drawn, numbers_of(dataset, images.device).places)
    return changed_colours(dataset, images, counters, recipe, seed, epoch)


def streamed_crops(split: Split, rows: Tensor, recipe: Recipe, seed: int, epoch: int) -> Tensor:
    """Random parts of streamed images, cut out of the files' own pixels; each view of an image is drawn by itself."""
    streamed = split.streamed
    assert streamed is not None
    plan = streamed.random(recipe.crop_scale, recipe.crop_ratio)
    if recipe.repeats == 1:
        return streamed.crops(rows, plan, seed=seed, epoch=epoch)
    places, copies = rows % len(split), rows // len(split)
    images = torch.empty(len(rows), *streamed.shape[1:], dtype=torch.uint8, device=streamed.device)
    for copy in set(copies.tolist()):
        own = (copies == copy).nonzero().flatten()
        images[own] = streamed.crops(places[own], plan, seed=copy_seed(seed, copy), epoch=epoch, copy=copy)
    return images


def copy_seed(seed: int, copy: int) -> int:
    """By what view number `copy` of each image is drawn, where there are several."""
    return key(CUT, seed, copy)


def follow_epochs(dataset: Dataset, recipe: Recipe, steps: int, *, order_seed: int, view_seed: int) -> None:
    """Announce the batches of training, which are then decoded ahead; nothing where the images are in memory."""
    if (streamed := dataset.train.streamed) is None:
        return
    images = recipe.batch_size // recipe.repeats
    if wanted_augment(dataset, recipe.augment) != "random-resized-crop" or dataset.transform is not None:
        streamed.follow(streamed.middle, BatchOrder(order_seed, 0, images, steps))
        return
    plan = streamed.random(recipe.crop_scale, recipe.crop_ratio)
    for copy in range(recipe.repeats):
        seed = copy_seed(view_seed, copy) if recipe.repeats > 1 else view_seed
        streamed.follow(plan, BatchOrder(order_seed, seed, images, steps), copy)


def changed_colours(
    dataset: Dataset, images: Tensor, counters: Tensor, recipe: Recipe, seed: int, epoch: int
) -> Tensor:
    """`images`, uint8, which may be overwritten, after the recipe's policy, jitter and erasing."""
    if recipe.policy != "none":
        images = apply_policy(images, recipe, key(POLICY, seed, epoch), counters)
    if recipe.jitter or recipe.hue:
        streams = key(JITTER, seed, epoch, 0), key(JITTER, seed, epoch, 1)
        images = jitter(images, streams, counters, recipe.jitter, recipe.hue)
    if recipe.erasing:
        streams = key(ERASE, seed, epoch, 0), key(ERASE, seed, epoch, 1)
        images = erase(images, streams, counters, recipe.erasing, numbers_of(dataset, images.device).mean)
    return images
