"""The batches of training: which images, as the epoch sees them, mixed and laid out as the recipe asks."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from automl_kd import distributed
from automl_kd.data import (
    UNLABELLED,
    Batch,
    Dataset,
    augmented_view,
    draw_mix,
    image_rows,
    mix_images,
    partner_places,
)
from automl_kd.models.memory_layout import laid_out
from automl_kd.seeds import derive
from automl_kd.spec import Recipe


def run_number(dataset: Dataset, recipe: Recipe, seed: int) -> int:
    """Another one for runs on one set that see other batches."""
    views = [repr(recipe.views)] if recipe.views else []
    return derive(seed, "run", len(dataset.train), recipe.batch_size, recipe.augment, *views)


def training_batch(
    dataset: Dataset,
    recipe: Recipe,
    rows: Tensor,
    epoch: int,
    part: tuple[int, ...],
    *,
    seed: int,
    windows: Tensor | None = None,
) -> Batch:
    """The training images at `rows`, on their device, as `epoch` sees them; `seed`: of the run's views.

    `rows`: as in `epoch_rows`; with partners, they are mixed as the batch `part[1]` is. `windows`: see `train_view`.
    """
    split, views = dataset.train, rows if rows.ndim == 1 else rows[:, 0]
    images = augmented_view(dataset, split, views, recipe, seed=seed, epoch=epoch, windows=windows)
    own = image_rows(split, views, recipe)
    batch = Batch(images, split.labels[own], split.index[own], epoch, part, task=dataset.task)
    if rows.ndim > 1:
        batch = mixed_batch(batch, dataset, recipe, rows[:, 1], seed=seed, windows=windows)
    return replace(batch, inputs=laid_out(batch.inputs, recipe))


def mixed_batch(
    batch: Batch, dataset: Dataset, recipe: Recipe, partners: Tensor, *, seed: int, windows: Tensor | None
) -> Batch:
    """The batch's images mixed with those at the rows `partners`, (len(batch),)."""
    height, width = batch.inputs.shape[2:]
    mix = draw_mix(recipe, (height, width), seed=seed, epoch=batch.epoch, number=batch.part[1])
    if mix is None:
        return batch
    split = dataset.train
    if pairs_inside(len(batch), recipe):
        others = batch.inputs[partner_places(len(batch), recipe.repeats, partners.device)]
    else:
        others = augmented_view(dataset, split, partners, recipe, seed=seed, epoch=batch.epoch, windows=windows)
    own, second = batch.labels, split.labels[image_rows(split, partners, recipe)]
    unlabelled = (own == UNLABELLED) | (second == UNLABELLED)
    return replace(
        batch,
        inputs=mix_images(batch.inputs, others, mix),
        labels=own.masked_fill(unlabelled, UNLABELLED),
        second_labels=second.masked_fill(unlabelled, UNLABELLED),
        share=mix.share,
    )


def pairs_inside(images: int, recipe: Recipe) -> bool:
    """Whether both images of each pair are in this process's part of a batch, which has so many images."""
    piece = images // recipe.grad_accumulation
    return distributed.shard_count() == 1 or piece % (2 * recipe.repeats) == 0
