"""The record of how a network is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from automl_kd.registry import check_fields
from automl_kd.spec.checks import require


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained, whatever its loss.

    `epochs` (1 or more): passes over the training images. `batch_size` (2 or more): images in a step. `optimizer`: SGD
    with momentum, or AdamW. `lr` (above 0): the highest learning rate. `momentum` (0 or more, below 1): momentum of
    SGD. `nesterov`: whether momentum looks ahead; it needs a momentum above 0. `weight_decay` (0 or more): decay of
    every weight, in each step. `schedule`: the learning rate falls as a "cosine" to zero, or by "multistep".
    `milestones` (above 0, below 1): where "multistep" lowers the rate, as fractions of the run, so that a recipe keeps
    its shape at any length. `gamma` (any): what "multistep" multiplies it by at each milestone. `warmup` (0 or more,
    below 1): the fraction of the run over which the rate first rises linearly from zero. `label_smoothing` (0 or more,
    below 1): the share of each label that is spread over all classes. `clip_norm` (0 or more): largest gradient norm; 0
    does not clip. `amp`: bfloat16 autocast, on CUDA only. `channels_last`: the layout of images and weights in memory.
    `augment`: "auto" takes what the dataset recommends. `grad_accumulation` (1 or more): a step's gradients are
    gathered from so many pieces of its batch, one after the other, which need less memory; batch normalisation and
    losses that compare images see a piece each. `sync_bn_groups` (1 or more): batch normalisation looks at each of so
    many equal parts of a batch by itself; 1 for the whole batch. It must be 1 or trial.workers where these are several.
    `last_epoch` (above 0, at most 1): the fraction of its steps, rounded and at least one, that the last epoch takes;
    comparisons at equal compute set it, so that costs agree within 1 %.
    """

    epochs: int = 30
    batch_size: int = 64
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    schedule: Literal["cosine", "multistep"] = "cosine"
    milestones: tuple[float, ...] = (0.625, 0.75, 0.875)
    gamma: float = 0.1
    warmup: float = 0.0
    label_smoothing: float = 0.0
    clip_norm: float = 0.0
    amp: bool = True
    channels_last: bool = True
    augment: Literal["auto", "none", "crop", "crop-flip"] = "auto"
    grad_accumulation: int = 1
    sync_bn_groups: int = 1
    last_epoch: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.epochs >= 1, f"epochs must be 1 or more, got {self.epochs}")
        require(self.batch_size >= 2, f"batch_size must be 2 or more, got {self.batch_size}")
        require(self.lr > 0, f"lr must be above 0, got {self.lr}")
        require(0 <= self.momentum < 1, f"momentum must lie in [0, 1), got {self.momentum}")
        require(self.momentum > 0 or not self.nesterov, "nesterov needs a momentum above 0; set nesterov = false")
        require(self.weight_decay >= 0, f"weight_decay must be 0 or more, got {self.weight_decay}")
        require(all(0 < point < 1 for point in self.milestones), f"milestones are fractions, got {self.milestones}")
        require(0 <= self.warmup < 1, f"warmup is a fraction of the run in [0, 1), got {self.warmup}")
        require(0 <= self.label_smoothing < 1, f"label_smoothing must lie in [0, 1), got {self.label_smoothing}")
        require(self.clip_norm >= 0, f"clip_norm must be 0 (off) or more, got {self.clip_norm}")
        for name in ("grad_accumulation", "sync_bn_groups"):
            require(getattr(self, name) >= 1, f"{name} must be 1 or more, got {getattr(self, name)}")
        require(0 < self.last_epoch <= 1, f"last_epoch must lie above 0 and at most at 1, got {self.last_epoch}")
        require_shares(self, 1)

    @property
    def length(self) -> float:
        """Epochs with the fraction of the last one: 12.4 of 13 epochs whose last one takes 0.4 of its steps."""
        return self.epochs - 1 + self.last_epoch

    def steps_in(self, epoch: int, steps: int) -> int:
        """How many of an epoch's `steps` are taken in `epoch`, counted from 1."""
        whole = epoch < self.epochs or self.last_epoch == 1
        return steps if whole else max(1, round(self.last_epoch * steps))

    def total_steps(self, steps: int) -> int:
        """Steps of the whole run, whose whole epochs have `steps`."""
        return (self.epochs - 1) * steps + self.steps_in(self.epochs, steps)

    def epochs_done(self, epoch: int, images: int) -> float:
        """How often the run has seen each of its `images` after `epoch`, on average: whole epochs but for the last."""
        steps = steps_per_epoch(images, self.batch_size)
        if (taken := self.steps_in(epoch, steps)) == steps:
            return float(epoch)
        return epoch - 1 + taken * self.batch_size / images

    def passes(self, images: int) -> float:
        """How often the whole run sees each image, on average."""
        return self.epochs_done(self.epochs, images)

    def stretched(self, share: float) -> Recipe:
        """The same for `share` of its length: of whole epochs in whole ones, at least one; of others as exact."""
        if self.last_epoch == 1:
            return replace(self, epochs=max(1, round(share * self.epochs)))
        epochs = math.ceil(length := share * self.length)
        return replace(self, epochs=epochs, last_epoch=length - (epochs - 1))


def steps_per_epoch(images: int, batch_size: int) -> int:
    """A last batch of one image has no batch statistics; it is left out."""
    return images // batch_size + (images % batch_size > 1)


def require_shares(recipe: Recipe, workers: int, where: str = "") -> None:
    """Raise `ValueError` unless its batches can be divided among so many workers, and into its pieces.

    `where`: before the names of its fields.
    """
    norms = recipe.sync_bn_groups
    require(
        workers == 1 or norms in {1, workers},
        f"{where}sync_bn_groups must be 1 or trial.workers, which is {workers}, got {norms}; set it to 1",
    )
    shares = {"trial.workers": workers, f"{where}grad_accumulation": recipe.grad_accumulation}
    shares |= {f"{where}sync_bn_groups": norms} if workers == 1 else {}
    least, words = math.prod(shares.values()), ", ".join(f"{name} = {n}" for name, n in shares.items() if n > 1)
    require(
        least == 1 or (recipe.batch_size % least == 0 and recipe.batch_size >= 2 * least),
        f"{where}batch_size must be a multiple of {least} ({words}) and at least {2 * least}, so that every share has "
        f"two images or more, got {recipe.batch_size}; choose another",
    )


YOUNGER_RECIPE_FIELDS = ("last_epoch",)
"""Those that records of earlier releases do not have; they are stored where they are set."""


def read_recipe(record: Mapping[str, Any]) -> Recipe:
    return Recipe(**{**record, "milestones": tuple(record["milestones"])})
