"""Logit standardisation: soft targets that match the teacher's order and proportions, not its scale.

Shangquan Sun, Wenqi Ren, Jingzhi Li, Rui Wang, Xiaochun Cao. Logit Standardization in Knowledge Distillation. 2024.
arXiv:2403.01427. Each image's logits are centred and divided by their standard deviation (with n - 1, as in the
published code) in both networks. Temperature 2 and weights 9 and 0.1 are those of most pairs of its benchmark. One
published program leaves out the temperature's square where no label weight is given; here it always counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32
from automl_kd.tasks.soft_targets import kd_loss

DEVIATION_FLOOR = 1e-7
"""Added to the standard deviation: equal logits stay zero instead of becoming 0 / 0."""


@in_float32
def standardise(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
    """(z - mean z) / (std z + 1e-7) for each image; at least two classes."""
    centred = logits - logits.mean(dim=1, keepdim=True)
    # The standard deviation by hand: torch's has no gradient (0 / 0) where all logits are equal.
    square = centred.square().sum(dim=1, keepdim=True) / (logits.shape[1] - 1)
    deviation = square.clamp_min(DEVIATION_FLOOR**2).sqrt()
    return centred / (deviation + DEVIATION_FLOOR)


@dataclass(frozen=True)
class StandardisedKD:
    """Soft targets of standardised logits. Sun et al. 2024, arXiv:2403.01427.

    `temperature` > 0 divides the standardised logits.
    """

    standard: ClassVar[Standard] = Standard(weight=9.0, ce=0.1)
    temperature: float = 2.0

    def __post_init__(self) -> None:
        require(self.temperature > 0, f"temperature must be above 0, got {self.temperature}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames()

    def make(self, example: Example) -> StandardisedKD:  # noqa: ARG002 - nothing to build
        return self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        return {"lskd": kd_loss(standardise(student.logits), standardise(teacher.logits), self.temperature)}
