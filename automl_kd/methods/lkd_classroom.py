"""What a learned loss is learned from: two networks, training images, and others that are held out from training.

The held-out images are cut from the training split, because trials are compared on the validation split: a loss that
was learned there could not be judged there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from automl_kd.data import Batch, Dataset, Split, plain_view, train_view
from automl_kd.data.counter import key
from automl_kd.data.division import stratified
from automl_kd.errors import DataError
from automl_kd.models.taps import Outputs, Tapped
from automl_kd.seeds import derive
from automl_kd.spec import Recipe

HELD = 21  # the first word of the draw's key, apart from those of the division and of the views


def hold_out(dataset: Dataset, fraction: float, *, seed: int) -> tuple[Dataset, Split]:
    """The set without `fraction` of its training images, and these, drawn class by class.

    `DataError` if that holds nothing out.
    """
    split, device = dataset.train, dataset.train.labels.device
    held = stratified(split.labels.cpu(), round(fraction * len(split)), key(HELD, seed))
    if not 0 < len(held) < len(split):
        raise DataError(
            f"{dataset.name} has {len(split)} training images, too few to hold out {fraction:g} of them for lkd; add "
            "images or change method.held_out"
        )
    stays = torch.ones(len(split), dtype=torch.bool)
    stays[held] = False
    return replace(dataset, train=rows_of(split, stays.nonzero()[:, 0].to(device))), rows_of(split, held.to(device))


def rows_of(split: Split, rows: Tensor) -> Split:
    return Split(split.images[rows], split.labels[rows], split.index[rows])


@dataclass(frozen=True, eq=False)
class Classroom:
    """What the outer loop looks at: both networks, what the student trains on, and the images held out from it."""

    student: Tapped
    teacher: Tapped
    dataset: Dataset
    held: Split
    recipe: Recipe
    seed: int

    @property
    def steps(self) -> int:
        """Of one epoch, as the training loop counts them."""
        count = len(self.dataset.train)
        return count // self.recipe.batch_size + (count % self.recipe.batch_size > 1)

    def view(self, index: Tensor, epoch: int) -> Batch:
        """The training images with these indices as `epoch` sees them."""
        split, recipe = self.dataset.train, self.recipe
        sorted_index, places = split.index.sort()
        rows = places[torch.searchsorted(sorted_index, index)]
        seed = derive(self.seed, "view")
        images = train_view(self.dataset, split, rows, seed=seed, epoch=epoch, augment=recipe.augment)
        return Batch(self.laid_out(images), split.labels[rows], index, epoch)

    def held_batch(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """`count` held-out images as they are measured, or all where there are fewer, and their labels."""
        rows = drawn(len(self.held), count, rng).to(self.held.labels.device)
        return self.laid_out(plain_view(self.dataset, self.held, rows)), self.held.labels[rows]

    def fresh_batch(self, epoch: int, rng: np.random.Generator) -> tuple[Batch, Outputs]:
        split = self.dataset.train
        rows = drawn(len(split), self.recipe.batch_size, rng).to(split.labels.device)
        batch = self.view(split.index[rows], epoch)
        with torch.no_grad():
            return batch, self.teacher(batch.images)

    def laid_out(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.recipe.channels_last else images


def drawn(of: int, count: int, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.choice(of, size=min(count, of), replace=False))
