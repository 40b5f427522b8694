"""Correlation congruence: let the student's errors on one image not go with those on the next.

Baoyun Peng, Xiao Jin, Jiaheng Liu, Shunfeng Zhou, Yichao Wu, Yu Liu, Dongsheng Li, Zhaoning Zhang. Correlation
Congruence for Knowledge Distillation. 2019. arXiv:1904.01802. The paper compares Gaussian kernels of all pairs; the
code that the authors gave to the CIFAR-100 benchmark, with its weight of 0.02, multiplies the differences of
consecutive images, and so does this. It therefore depends on the order of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
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
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32


@in_float32
def cc_loss(student: Float[Tensor, "batch width"], teacher: Float[Tensor, "batch width"]) -> Float[Tensor, ""]:
    """Mean over consecutive images of sum_k |s - t|_k |s' - t'|_k; 0 for a single image.

    Unlike in other losses both arguments are trained: each is a layer's output, of which one sees the teacher.
    """
    gap = (student - teacher).abs()
    return (gap[:-1] * gap[1:]).sum() / max(len(gap) - 1, 1)


@dataclass(frozen=True)
class CC:
    """Products of consecutive images' embedding errors. Peng et al. 2019, arXiv:1904.01802.

    `width` >= 1 of the two trained embeddings. `stages`: pairs of feature layers to compare.
    """

    standard: ClassVar[Standard] = Standard(weight=0.02)
    whole_batch: ClassVar[bool] = True
    stages: str = "pooled"
    width: int = 128

    def __post_init__(self) -> None:
        require(self.width >= 1, f"width must be 1 or more, got {self.width}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> Embeddings:
        return beside(Embeddings(self, example), example)


class Embeddings(nn.Module):
    def __init__(self, options: CC, example: Example) -> None:
        super().__init__()
        self.stages = options.stages
        pairs = example_vectors("cc", options.stages, example)
        self.student = nn.ModuleList(nn.Linear(one[0].numel(), options.width) for one, _ in pairs)
        self.teacher = nn.ModuleList(nn.Linear(two[0].numel(), options.width) for _, two in pairs)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        pairs = zip(both(self.stages, student, teacher), self.student, self.teacher, strict=True)
        return {
            "cc": sum_of_terms([cc_loss(e_s(one.flatten(1)), e_t(two.flatten(1))) for (one, two), e_s, e_t in pairs])
        }
