"""The record of how a network is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

from automl_kd.registry import check_fields
from automl_kd.spec.checks import require


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained, whatever its loss.

    `epochs` (1 or more): passes over the training images. `batch_size` (2 or more): images in a step. `optimizer`: SGD
    with momentum, AdamW or LAMB. `lr` (above 0): the highest learning rate. `momentum` (0 or more, below 1): momentum
    of SGD. `nesterov`: whether momentum looks ahead; it needs a momentum above 0. `weight_decay` (0 or more): decay of
    every weight, in each step. `schedule`: the learning rate falls as a "cosine" to zero, or by "multistep".
    `milestones` (above 0, below 1): where "multistep" lowers the rate, as fractions of the run, so that a recipe keeps
    its shape at any length. `gamma` (any): what "multistep" multiplies it by at each milestone. `warmup` (0 or more,
    below 1): the fraction of the run over which the rate first rises linearly from zero. `label_smoothing` (0 or more,
    below 1): the share of each label that is spread over all classes. `clip_norm` (0 or more): largest gradient norm; 0
    does not clip. `amp`: bfloat16 autocast, on CUDA only. `channels_last`: the layout of images and weights in memory.
    `augment`: "auto" takes what the dataset recommends; "random-resized-crop" a part of each image, resized to all of
    it and mirrored half of the time. `crop_scale` (above 0, at most 1): the least part of an image's area that
    "random-resized-crop" takes. `crop_ratio` (1 or more): the most that a side of it is longer than the other.
    `policy`: operations on each image: "rand" applies `policy_ops` of RandAugment, "trivial" one of TrivialAugmentWide.
    `policy_ops` (1 or more): how many operations "rand" applies to an image. `policy_magnitude` (0 to 30): how far each
    of them goes. `jitter` (0 to 1): the most by which brightness, contrast and saturation change, each as a fraction.
    `hue` (0 to 0.5): the most by which hues turn, as a fraction of a whole turn. `erasing` (0 to 1): the probability
    that a rectangle of an image is erased. `mixup` (0 or more): alpha of the Beta distribution by which two images are
    mixed; 0 mixes none. `cutmix` (0 or more): alpha of that by which a rectangle of another image is put into one; with
    `mixup`, each batch is mixed in one of the two ways. `mix_probability` (above 0, at most 1): the probability that a
    batch is mixed. `repeats` (1 or more): so many views of an image are in a batch; an epoch keeps its steps and has
    fewer images. `loss`: cross entropy on the labels, or "bce", binary cross entropy of each class. `decay_norms`:
    whether biases and the weights of normalisation decay too. `eps` (above 0): what "adamw" and "lamb" add to a
    denominator. `ema` (0 or more, below 1): decay of an average of the weights, which is measured and kept in place of
    them; 0 takes the weights as they are. `ema_steps` (1 or more): the average is renewed after so many steps.
    `train_resolution` (0 to 4096): height and width of the images that the student trains on; 0 for those that it is
    measured on. `grad_accumulation` (1 or more): a step's gradients are gathered from so many pieces of its batch, one
    after the other, which need less memory; batch normalisation and losses that compare images see a piece each.
    `sync_bn_groups` (1 or more): batch normalisation looks at each of so many equal parts of a batch by itself; 1 for
    the whole batch. It must be 1 or trial.workers where these are several. `last_epoch` (above 0, at most 1): the
    fraction of its steps, rounded and at least one, that the last epoch takes; comparisons at equal compute set it, so
    that costs agree within 1 %.
    """

    epochs: int = 30
    batch_size: int = 64
    optimizer: Literal["sgd", "adamw", "lamb"] = "sgd"
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
    augment: Literal["auto", "none", "crop", "crop-flip", "random-resized-crop"] = "auto"
    grad_accumulation: int = 1
    sync_bn_groups: int = 1
    last_epoch: float = 1.0
    crop_scale: float = 0.08
    crop_ratio: float = 4 / 3
    policy: Literal["none", "rand", "trivial"] = "none"
    policy_ops: int = 2
    policy_magnitude: int = 9
    jitter: float = 0.0
    hue: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0
    repeats: int = 1
    loss: Literal["ce", "bce"] = "ce"
    decay_norms: bool = True
    eps: float = 1e-8
    ema: float = 0.0
    ema_steps: int = 1
    train_resolution: int = 0

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
        require_views(self)
        require(self.eps > 0, f"eps must be above 0, got {self.eps}")
        require(0 <= self.ema < 1, f"ema is a decay and must lie in [0, 1), got {self.ema}")
        require(self.ema_steps >= 1, f"ema_steps must be 1 or more, got {self.ema_steps}")
        size = self.train_resolution
        require(0 <= size <= 4096, f"train_resolution must lie in 0 (as measured) to 4096, got {size}")

    @property
    def mixes(self) -> bool:
        """Whether images of a batch are mixed."""
        return self.mixup > 0 or self.cutmix > 0

    @cached_property
    def views(self) -> dict[str, Any]:
        """What of the views of images differs from the default, `augment` aside: it decides what a teacher sees."""
        chosen = (item for item in fields(self) if item.name in VIEW_FIELDS)
        return {item.name: value for item in chosen if (value := getattr(self, item.name)) != item.default}

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


def require_views(recipe: Recipe) -> None:
    """Raise `ValueError` for views that images cannot have."""
    require(0 < recipe.crop_scale <= 1, f"crop_scale must lie above 0 and at most at 1, got {recipe.crop_scale}")
    require(recipe.crop_ratio >= 1, f"crop_ratio must be 1 or more, got {recipe.crop_ratio}")
    require(recipe.policy_ops >= 1, f"policy_ops must be 1 or more, got {recipe.policy_ops}")
    for name, most in (("policy_magnitude", 30), ("jitter", 1), ("hue", 0.5), ("erasing", 1)):
        value = getattr(recipe, name)
        require(0 <= value <= most, f"{name} must lie in 0 to {most}, got {value}")
    for name in ("mixup", "cutmix"):
        require(getattr(recipe, name) >= 0, f"{name} must be 0 (off) or more, got {getattr(recipe, name)}")
    share = recipe.mix_probability
    require(0 < share <= 1, f"mix_probability must lie above 0 and at most at 1, got {share}")
    require(recipe.repeats >= 1, f"repeats must be 1 or more, got {recipe.repeats}")
    require(
        recipe.batch_size % recipe.repeats == 0,
        f"batch_size must be a multiple of repeats = {recipe.repeats}, so that all views of an image are in one batch, "
        f"got {recipe.batch_size}; choose another",
    )
    require(
        not recipe.mixes or recipe.batch_size >= 2 * recipe.repeats,
        f"mixup and cutmix need two images in a batch, and it must hold {2 * recipe.repeats} views for repeats = "
        f"{recipe.repeats}, got batch_size = {recipe.batch_size}; choose another",
    )


VIEW_FIELDS = (
    *("crop_scale", "crop_ratio", "policy", "policy_ops", "policy_magnitude", "jitter", "hue", "erasing"),
    *("mixup", "cutmix", "mix_probability", "repeats"),
)
"""Those that decide what an epoch's images look like, and which are in a batch."""

YOUNGER_RECIPE_FIELDS = (
    *("last_epoch", *VIEW_FIELDS),
    *("loss", "decay_norms", "eps", "ema", "ema_steps", "train_resolution"),
)
"""Those that records of earlier releases do not have; they are stored where they are set."""


def read_recipe(record: Mapping[str, Any]) -> Recipe:
    return Recipe(**{**record, "milestones": tuple(record["milestones"])})
