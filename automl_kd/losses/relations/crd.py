"""Contrastive representation distillation: separate the teacher's features of an image from those of other images.

Yonglong Tian, Dilip Krishnan, Phillip Isola. Contrastive Representation Distillation. 2019. arXiv:1910.10699. As in the
published code: linear heads to 128 numbers of unit length, two memories with a row for each training image (momentum
0.5), 16384 negatives of other classes, noise-contrastive estimation with both networks as anchors, and normalising
constants fixed by the first batch. Memories, constants and draws belong to the state that is saved. Where there are
fewer images than negatives, there are as many negatives as images.

One thing differs: memories begin as unit vectors in the directions of points drawn from a cube. The code leaves the
points there, each number within sqrt(3 / 128) of 0, so that a row's squared length is 1 on average only. Either way a
row has length 1 from the first visit of its image, within an epoch.

Scores are taken from the product with the whole memory, of which the drawn columns are kept. For sets of CIFAR's size
fewer bytes move so than by collecting the negatives' rows for each image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.errors import ConfigError
from automl_kd.losses.base import (
    Example,
    FeatureNames,
    LossTerms,
    Standard,
    beside,
    both,
    example_vectors,
)
from automl_kd.losses.draws import CountedGenerator
from automl_kd.models.features import Outputs
from automl_kd.seeds import derive
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32
from automl_kd.tasks.soft_targets import Number

DENOMINATOR_FLOOR = 1e-7
"""Added to both denominators, as in the published code."""


@in_float32
def crd_loss(
    positive: Float[Tensor, " batch"], negative: Float[Tensor, "batch negatives"], images: int
) -> Float[Tensor, ""]:
    """Noise-contrastive estimation of scores above 0, the noise uniform over `images`; batch mean."""
    noise = negative.shape[1] / images
    right = (positive / (positive + noise + DENOMINATOR_FLOOR)).log()
    wrong = (noise / (negative + noise + DENOMINATOR_FLOOR)).log().sum(dim=1)
    return -(right + wrong).mean()


@in_float32
def contrast_scores(
    anchors: Float[Tensor, "batch width"],
    memory: Float[Tensor, "images width"],
    rows: Int[Tensor, "batch candidates"],
    temperature: Number,
) -> Float[Tensor, "batch candidates"]:
    """exp(anchor . row / temperature) for the memory's `rows` of each anchor, before division by the constant."""
    return ((anchors @ memory.T).gather(1, rows) / temperature).exp()


@dataclass(frozen=True)
class CRD:
    """Contrast with a memory of all images. Tian et al. 2019, arXiv:1910.10699.

    `width`: of the embeddings. `negatives` >= 1 for each image. `temperature` > 0. `momentum` in [0, 1) of the memory.
    `stages`: one pair of feature layers.
    """

    standard: ClassVar[Standard] = Standard(weight=0.8)
    needs_labels: ClassVar[bool] = True
    whole_batch: ClassVar[bool] = True
    remembers_images: ClassVar[bool] = True
    stages: str = "pooled"
    width: int = 128
    negatives: int = 16384
    temperature: float = 0.07
    momentum: float = 0.5

    def __post_init__(self) -> None:
        require(min(self.width, self.negatives) >= 1, "width and negatives must be 1 or more")
        require(self.temperature > 0, f"temperature must be above 0, got {self.temperature}")
        require(0 <= self.momentum < 1, f"momentum must lie in [0, 1), got {self.momentum}")
        require(
            len(FeatureNames.of(self.stages).student) == 1,
            f"crd compares one pair of feature layers, got {self.stages!r}",
        )

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> Contrast:
        return beside(Contrast(self, example), example)


class Contrast(nn.Module):
    """`memory_s`, `memory_t`: a unit vector for each image. `by_class`: the images' rows, sorted by label.

    `row_of`: an image's row by its index in the set. `first`, `size`: where each class begins in `by_class`, and its
    number of images. `constants`: of the student's and the teacher's anchors; below zero until the first batch.
    """

    memory_s: Tensor
    memory_t: Tensor
    by_class: Tensor
    row_of: Tensor
    first: Tensor
    size: Tensor
    constants: Tensor

    def __init__(self, options: CRD, example: Example) -> None:
        super().__init__()
        self.options, self.images = options, len(example.labels)
        self.count = min(options.negatives, self.images)
        ((one, two),) = example_vectors("crd", options.stages, example)
        self.head_s = nn.Linear(one[0].numel(), options.width)
        self.head_t = nn.Linear(two[0].numel(), options.width)
        self.draws = CountedGenerator(derive(example.seed, "crd"))
        size = torch.bincount(example.labels, minlength=example.classes).cpu()
        if int(size.max()) == self.images:
            raise ConfigError("crd contrasts images of several classes and all have the same label; add other images")
        row_of = torch.zeros(int(example.index.max()) + 1, dtype=torch.int64)
        row_of[example.index.cpu()] = torch.arange(self.images)
        self.register_buffer("row_of", row_of)
        self.register_buffer("by_class", example.labels.cpu().argsort(stable=True))
        self.register_buffer("size", size)
        self.register_buffer("first", size.cumsum(0) - size)
        self.register_buffer("constants", torch.full((2,), -1.0))
        for name in ("memory_s", "memory_t"):
            self.register_buffer(name, F.normalize(torch.rand(self.images, options.width) * 2 - 1, dim=1))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:
        ((one, two),) = both(self.options.stages, student, teacher)
        v_s, v_t = (F.normalize(head(x.flatten(1)).to(self.memory_s.dtype), dim=1) for head, x in self.heads(one, two))
        own = self.row_of[batch.index]
        rows = torch.cat([own[:, None], self.negatives(batch.labels)], dim=1)
        loss = self.contrast(0, v_s, self.memory_t, rows) + self.contrast(1, v_t, self.memory_s, rows)
        if self.training:
            self.remember(self.memory_s, own, v_s)
            self.remember(self.memory_t, own, v_t)
        return {"crd": loss}

    def heads(self, one: Tensor, two: Tensor) -> tuple[tuple[nn.Module, Tensor], tuple[nn.Module, Tensor]]:
        return (self.head_s, one), (self.head_t, two)

    def negatives(self, labels: Int[Tensor, " batch"]) -> Int[Tensor, "batch negatives"]:
        """Rows of images of other classes, drawn uniformly with replacement."""
        first, size = self.first[labels][:, None], self.size[labels][:, None]
        generator = self.draws(labels.device)
        chance = torch.rand((len(labels), self.count), generator=generator, device=labels.device, dtype=torch.float64)
        places = (chance * (self.images - size)).long()
        # Places at or beyond the image's own class skip it.
        return self.by_class[places + size * (places >= first)]

    def contrast(self, anchor: int, vectors: Tensor, memory: Tensor, rows: Tensor) -> Tensor:
        # A copy, because `remember` changes the memory before the backward pass needs it.
        found = contrast_scores(vectors, memory.clone(), rows, self.options.temperature)
        first = found.detach().mean() * self.images
        constant = torch.where(self.constants[anchor] < 0, first, self.constants[anchor])
        if self.training:
            self.constants[anchor] = constant
        scaled = found / constant
        return crd_loss(scaled[:, 0], scaled[:, 1:], self.images)

    def remember(self, memory: Tensor, rows: Tensor, vectors: Tensor) -> None:
        kept = self.options.momentum
        memory[rows] = F.normalize(kept * memory[rows] + (1 - kept) * vectors.detach(), dim=1)
