"""The meta data of a learned loss: two networks, training images, and held-out training images.

The held-out images are cut from the training split, because trials are compared on the validation split: a loss that
was learned there could not be judged there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from automl_kd import distributed
from automl_kd.data import Batch, Dataset, Split, augmented_view, plain_view
from automl_kd.data.counter import key
from automl_kd.data.division import set_apart
from automl_kd.models.features import FeatureExtractor, Outputs
from automl_kd.models.memory_layout import laid_out
from automl_kd.seeds import derive
from automl_kd.spec import Recipe, steps_per_epoch
from automl_kd.teacher_cache.cached_teacher import TeacherOutputs

HELD_OUT_STREAM = 21  # the first word of the draw's key, apart from those of the division and of the views


def hold_out_images(dataset: Dataset, fraction: float, *, seed: int) -> tuple[Dataset, Split]:
    """The set without `fraction` of its training images, and these; refusals as `set_apart`."""
    return set_apart(dataset, fraction, key(HELD_OUT_STREAM, seed))


@dataclass(frozen=True, eq=False)
class MetaData:
    """What the outer loop looks at: both networks, what the student trains on, and the images held out from it."""

    student: FeatureExtractor
    ask_teacher: TeacherOutputs
    dataset: Dataset
    held: Split
    recipe: Recipe
    seed: int

    @property
    def steps(self) -> int:
        """Of one epoch, as the training loop counts them."""
        return steps_per_epoch(len(self.dataset.train), self.recipe.batch_size)

    def view(self, index: Tensor, epoch: int, batch: Tensor | None = None) -> Batch:
        """The training images with these indices as `epoch` sees them.

        `batch`: the indices of the whole batch, of which these are a part; None where they are all of it.
        """
        split, recipe = self.dataset.train, self.recipe
        sorted_index, places = split.index.sort()
        rows = places[torch.searchsorted(sorted_index, index)]
        whole = rows if batch is None else places[torch.searchsorted(sorted_index, batch)]
        seed = derive(self.seed, "view")
        images = augmented_view(self.dataset, split, rows, recipe, seed=seed, epoch=epoch)
        images = self.laid_out(self.dataset.inputs_among(images, split, whole))
        return Batch(images, split.labels[rows], index, epoch, parts=distributed.shard_count())

    def held_batch(self, count: int, rng: np.random.Generator) -> Batch:
        """`count` held-out images as they are measured, or all where there are fewer; in a process group, a shard."""
        whole = draw_rows(len(self.held), count, rng).to(self.held.row_device)
        with distributed.shard_rows(whole) as rows:
            images = plain_view(self.dataset, self.held, rows)
            images = self.laid_out(self.dataset.inputs_among(images, self.held, whole))
            return Batch(images, self.held.labels[rows], self.held.index[rows], 0, parts=distributed.shard_count())

    def with_held(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """`batch` with held-out images in place of as many as their share of all, in their views of this epoch."""
        own, held = len(batch.labels), len(self.held)
        share = held / (held + len(self.dataset.train))
        count = min(held, int(rng.binomial(own * batch.parts, share)))  # of all processes' parts, the first ones
        first = distributed.rank() % batch.parts * own
        drawn = draw_rows(held, count, rng).to(self.held.row_device)
        if not count:
            return batch
        rows = drawn[first : first + own]
        if not len(rows):
            return replace(batch, inputs=self.dataset.inputs_among(batch.inputs, self.held, drawn))
        seed = derive(self.seed, "view")
        views = augmented_view(self.dataset, self.held, rows, self.recipe, seed=seed, epoch=batch.epoch)
        views = self.laid_out(self.dataset.inputs_among(views, self.held, drawn))
        inputs = self.laid_out(self.dataset.join_inputs([views, batch.inputs[len(rows) :]]))
        labels = torch.cat([self.held.labels[rows], batch.labels[len(rows) :]])
        index = torch.cat([self.held.index[rows], batch.index[len(rows) :]])
        return replace(batch, inputs=inputs, labels=labels, index=index, part=())

    def fresh_batch(self, epoch: int, rng: np.random.Generator) -> tuple[Batch, Outputs]:
        split = self.dataset.train
        whole = draw_rows(len(split), self.recipe.batch_size, rng).to(split.row_device)
        with distributed.shard_rows(whole) as rows:
            batch = self.view(split.index[rows], epoch, split.index[whole])
        return batch, self.ask_teacher(batch)

    def laid_out(self, images: Tensor) -> Tensor:
        return laid_out(images, self.recipe)


def draw_rows(of: int, count: int, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.choice(of, size=min(count, of), replace=False))
