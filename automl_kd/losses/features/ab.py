"""Activation boundaries: whether a neuron fires matters, how strongly does not.

Byeongho Heo, Minsik Lee, Sangdoo Yun, Jin Young Choi. Knowledge Transfer via Distillation of Activation Boundaries
Formed by Hidden Neurons. 2018. arXiv:1811.03233. The weights of the stages and the factor 3/1000 are those of the
CIFAR-100 benchmark's code. There the loss alone trains the student for 30 epochs, which are followed by 240 with labels
alone: "ab, ab.until=0.111, ce.start=0.111" in a run of 270 epochs.
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
    example_maps,
    halved_towards_the_first,
)
from automl_kd.losses.projections import resizing
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32
from automl_kd.tasks.soft_targets import Number

SCALE = 3 / 1000


@in_float32
def ab_loss(
    student: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch channels height width"],
    margin: Number,
) -> Float[Tensor, ""]:
    """Sum of squares by which the student's responses fall short of the right side of the margin, over the batch.

    Where the teacher's response is positive the student's is to reach `margin`, elsewhere -`margin`; both are taken
    before the activation.
    """
    side = (teacher.detach() > 0).to(student.dtype) * 2 - 1
    return (margin - side * student).clamp_min(0).square().sum() / len(student)


@dataclass(frozen=True)
class AB:
    """Squared hinge on the signs of the teacher's pre-activations. Heo et al. 2018, arXiv:1811.03233.

    `stages`: pairs of feature layers before their activation, shallow to deep; each weighs half of the next. `margin` >
    0.
    """

    standard: ClassVar[Standard] = Standard(weight=1.0)
    stages: str = "stage1.pre+stage2.pre+stage3.pre"
    margin: float = 1.0

    def __post_init__(self) -> None:
        require(self.margin > 0, f"margin must be above 0, got {self.margin}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> Boundaries:
        return beside(Boundaries(self, example), example)


class Boundaries(nn.Module):
    def __init__(self, options: AB, example: Example) -> None:
        super().__init__()
        self.options = options
        self.connectors = nn.ModuleList(
            nn.Sequential(resizing("ab", one, two), nn.BatchNorm2d(two.shape[1]))
            for one, two in example_maps("ab", options.stages, example)
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        maps = both(self.options.stages, student, teacher)
        losses = [
            ab_loss(connector(one), two, self.options.margin)
            for connector, (one, two) in zip(self.connectors, maps, strict=True)
        ]
        return {"ab": SCALE * halved_towards_the_first(losses)}
