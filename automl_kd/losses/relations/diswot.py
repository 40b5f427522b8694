"""DisWOT's two similarities of networks as losses: of their sample relations, and of their classes' semantics.

Peijie Dong, Lujun Li, Zimian Wei. DisWOT: Student Architecture Search for Distillation WithOut Training. 2023.
arXiv:2303.15678. The paper states that its similarities also serve as losses; neither weights nor a trainer are in the
release. The relation is the similarity-preserving loss of the last maps, whose weight of 3000 it takes over. The
semantic similarity compares the gradients of the two classifiers, in closed form; its weight of 1 is a guess.

For networks without zero gradients the semantic loss is minus the proxy's score. Its signs are taken as constants:
their derivative is zero wherever it exists, and a floored division would give a dead channel a gradient of 1e12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.losses.base import (
    Example,
    FeatureNames,
    LossTerms,
    Standard,
    beside,
    both,
    example_vectors,
    sum_of_terms,
)
from automl_kd.losses.relations.sp import sp_loss
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32


@in_float32
def semantic_loss(
    student: Float[Tensor, "batch channels"],
    student_logits: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch channels"],
    teacher_logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """Mean over classes of 2 - 2 agreement x cosine, between the rows of the two classifiers' gradients.

    agreement: mean over channels of the product of the rows' signs. In [0, 4]; entries that are zero count nothing.
    """
    g_s = student_classifier_gradient(student, student_logits, labels)
    g_t = student_classifier_gradient(teacher.detach(), teacher_logits.detach(), labels)
    sign_s, sign_t = g_s.detach().sign(), g_t.sign()
    live = (sign_s.abs() + sign_t.abs()).mean(dim=1)
    agreement = (sign_s * sign_t).mean(dim=1)
    return (live - 2 * agreement * cosine(g_s, g_t)).mean()


def student_classifier_gradient(
    pooled: Float[Tensor, "batch channels"], logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, "classes channels"]:
    """d(mean cross entropy)/d(weight) of the linear layer from `pooled` to `logits`: (p - one hot)' pooled / batch."""
    error = logits.softmax(dim=1) - F.one_hot(labels, logits.shape[1])
    return error.T @ pooled / len(labels)


def cosine(one: Float[Tensor, "rows columns"], two: Float[Tensor, "rows columns"]) -> Float[Tensor, " rows"]:
    return (F.normalize(one, dim=1) * F.normalize(two, dim=1)).sum(dim=1)


@dataclass(frozen=True)
class Relation:
    """DisWOT's relation similarity as a loss. Dong et al. 2023, arXiv:2303.15678.

    `stages`: pairs of feature layers to compare.
    """

    standard: ClassVar[Standard] = Standard(weight=3000.0)
    whole_batch: ClassVar[bool] = True
    stages: str = "pre_pool"

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> Relation:  # noqa: ARG002 - nothing to build
        return self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        return {
            "diswot_relation": sum_of_terms([sp_loss(one, two) for one, two in both(self.stages, student, teacher)])
        }


@dataclass(frozen=True)
class Semantic:
    """DisWOT's semantic similarity as a loss. Dong et al. 2023, arXiv:2303.15678.

    `stages`: the vectors that the classifiers see. A student of another width than the teacher's has its vector
    projected by a trained linear layer, which is our addition. The standard weight is a guess.
    """

    standard: ClassVar[Standard] = Standard(weight=1.0)
    needs_labels: ClassVar[bool] = True
    whole_batch: ClassVar[bool] = True
    stages: str = "pooled"

    def __post_init__(self) -> None:
        require(
            len(FeatureNames.of(self.stages).student) == 1,
            f"diswot_semantic compares one pair of feature layers, got {self.stages!r}",
        )

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> Semantics:
        return beside(Semantics(self.stages, example), example)


class Semantics(nn.Module):
    def __init__(self, stages: str, example: Example) -> None:
        super().__init__()
        self.stages = stages
        ((one, two),) = example_vectors("diswot_semantic", stages, example)
        c_s, c_t = one[0].numel(), two[0].numel()
        self.project = nn.Linear(c_s, c_t, bias=False) if c_s != c_t else nn.Identity()

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:
        ((one, two),) = both(self.stages, student, teacher)
        projected = self.project(one.flatten(1))
        loss = semantic_loss(projected, student.logits, two.flatten(1), teacher.logits, batch.labels)
        return {"diswot_semantic": loss}
