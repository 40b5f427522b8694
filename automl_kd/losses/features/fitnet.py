"""FitNet: the student's hint layer, through a regressor, imitates a layer of the teacher.

Adriana Romero, Nicolas Ballas, Samira Ebrahimi Kahou, Antoine Chassang, Carlo Gatta, Yoshua Bengio. FitNets: Hints for
Thin Deep Nets. 2014. arXiv:1412.6550. The paper trains with the hint first and with labels afterwards; as in the
CIFAR-100 benchmark both are trained together here, with weight 100 and a regressor of convolution, batch normalisation
and activation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard, beside, both, example_maps, sum_of_terms
from automl_kd.losses.projections import resizing
from automl_kd.models.features import Outputs
from automl_kd.tasks.precision import in_float32


@in_float32
def hint_loss(
    student: Float[Tensor, "batch channels height width"], teacher: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, ""]:
    """Mean squared difference."""
    return (student - teacher.detach()).square().mean()


@dataclass(frozen=True)
class FitNet:
    """Mean squared error between maps, through a regressor. Romero et al. 2014, arXiv:1412.6550.

    `stages`: pairs of feature layers to compare.
    """

    standard: ClassVar[Standard] = Standard(weight=100.0)
    stages: str = "stage2"

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> Hint:
        return beside(Hint(self.stages, example), example)


class Hint(nn.Module):
    def __init__(self, stages: str, example: Example) -> None:
        super().__init__()
        self.stages = stages
        self.regressors = nn.ModuleList(
            nn.Sequential(resizing("fitnet", one, two), nn.BatchNorm2d(two.shape[1]), nn.ReLU())
            for one, two in example_maps("fitnet", stages, example)
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        maps = both(self.stages, student, teacher)
        return {
            "fitnet": sum_of_terms(
                [hint_loss(r(one), two) for r, (one, two) in zip(self.regressors, maps, strict=True)]
            )
        }
