"""Softmax regression: the teacher's classifier must give equal outputs on the student's features and the teacher's.

Jing Yang, Brais Martinez, Adrian Bulat, Georgios Tzimiropoulos. Knowledge Distillation via Softmax Regression
Representation Learning. ICLR 2021. As in the published code both terms are mean squared errors: of the spatial means of
the last maps, and of the logits that the teacher's frozen classifier gives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.errors import ConfigError
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard, beside, both
from automl_kd.losses.projections import projection
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32


@in_float32
def srrl_losses(
    student: Float[Tensor, "batch width"],
    teacher: Float[Tensor, "batch width"],
    logits: Float[Tensor, "batch classes"],
    weight: Float[Tensor, "classes width"],
    bias: Float[Tensor, " classes"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean squared errors of the features, and of the teacher's classifier (`weight`, `bias`) on them."""
    answer = F.linear(student, weight, bias)
    return F.mse_loss(student, teacher.detach()), F.mse_loss(answer, logits.detach())


@dataclass(frozen=True)
class SRRL:
    """The teacher's classifier on the student's features. Yang et al. 2021, ICLR.

    `stages`: the student's last map, and the vector that the teacher's classifier sees.
    """

    standard: ClassVar[Standard] = Standard(weight=1.0)
    stages: str = "pre_pool:pooled"

    def __post_init__(self) -> None:
        require(
            len(FeatureNames.of(self.stages).student) == 1,
            f"srrl compares one pair of feature layers, got {self.stages!r}",
        )

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> Regression:
        return beside(Regression(self.stages, example), example)


class Regression(nn.Module):
    weight: Tensor
    bias: Tensor

    def __init__(self, stages: str, example: Example) -> None:
        super().__init__()
        self.stages = stages
        ((one, two),) = both(stages, example.student, example.teacher)
        head = example.classifier
        if head is None or two.ndim != 2 or head.in_features != two.shape[1] or one.ndim != 4:
            raise ConfigError(
                f"srrl needs a map of the student and the vector that the teacher's last linear layer sees, and got "
                f"{tuple(one.shape)} and {tuple(two.shape)} at {stages!r}; name such feature layers as student:teacher"
            )
        self.connector = nn.Sequential(*projection(one.shape[1], two.shape[1]), nn.ReLU())
        bias = head.weight.new_zeros(head.out_features) if head.bias is None else head.bias
        self.register_buffer("weight", head.weight.detach().clone())
        self.register_buffer("bias", bias.detach().clone())

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        ((one, two),) = both(self.stages, student, teacher)
        mapped = self.connector(one).mean(dim=(2, 3))
        feature, regression = srrl_losses(mapped, two, teacher.logits, self.weight, self.bias)
        return {"srrl.feature": feature, "srrl.regression": regression}
