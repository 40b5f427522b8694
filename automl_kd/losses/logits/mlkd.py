"""Multi-level logit distillation: match probabilities, and how they correlate between classes and between images.

Ying Jin, Jiaqi Wang, Dahua Lin. Multi-Level Logit Distillation. CVPR 2023. The three levels, each at several
temperatures, as in the published code. That code compares two views of each image, weakly and strongly augmented. Its
masks of unsure images and classes multiply losses that are averages already, and so halve them; of the strong view only
soft targets count. Over both views that makes 1.5 times the soft targets and half of each correlation; here one view is
compared and each counts once, so its published accuracies, of 480 epochs, are not to be expected. The weights 0.9 and
0.1 are plain distillation's.

The correlation between classes is of a sum over the batch. Of a sure teacher and an even student it is
(batch / classes)^2 (1 - 1 / classes): 0.4 for each temperature at 64 images and 100 classes, for which the weights were
chosen, and 37 at 10 classes. There the defaults can keep a student at chance; take classes = 0.01, the square of 10 /
100, or a rate of 0.01 with plain momentum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard, sum_of_terms
from automl_kd.losses.logits.logit_standardisation import standardise
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32
from automl_kd.tasks.soft_targets import Number, kd_loss


@in_float32
def class_correlation_loss(
    student: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"], temperature: Number
) -> Float[Tensor, ""]:
    """||Q'Q - P'P||^2 / classes for the softened probabilities P of the student and Q of the teacher."""
    p, q = (student / temperature).softmax(dim=1), (teacher.detach() / temperature).softmax(dim=1)
    return (q.T @ q - p.T @ p).square().sum() / p.shape[1]


@in_float32
def batch_correlation_loss(
    student: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"], temperature: Number
) -> Float[Tensor, ""]:
    """||QQ' - PP'||^2 / batch for the softened probabilities P of the student and Q of the teacher."""
    p, q = (student / temperature).softmax(dim=1), (teacher.detach() / temperature).softmax(dim=1)
    return (q @ q.T - p @ p.T).square().sum() / p.shape[0]


@dataclass(frozen=True)
class MLKD:
    """Probabilities and their correlations at several temperatures. Jin et al. 2023, CVPR.

    `temperatures`: numbers above 0 joined by "+". `instance`, `classes`, `images` >= 0 weigh soft targets, the
    correlation between classes and that between images. `standardise`: standardise the logits first (Sun et al. 2024).
    """

    standard: ClassVar[Standard] = Standard(weight=0.9, ce=0.1)
    whole_batch: ClassVar[bool] = True
    temperatures: str = "2+3+4+5+6"
    instance: float = 1.0
    classes: float = 1.0
    images: float = 1.0
    standardise: bool = False

    def __post_init__(self) -> None:
        require(all(value > 0 for value in self.levels), f"temperatures must be above 0, got {self.temperatures!r}")
        require(min(self.instance, self.classes, self.images) >= 0, "instance, classes and images must be 0 or more")

    @property
    def levels(self) -> list[float]:
        try:
            return [float(value) for value in self.temperatures.split("+")]
        except ValueError as error:
            raise ValueError(f"temperatures must be numbers joined by '+', got {self.temperatures!r}") from error

    @property
    def features(self) -> FeatureNames:
        return FeatureNames()

    def make(self, example: Example) -> MLKD:  # noqa: ARG002 - nothing to build
        return self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        z_s, z_t = student.logits, teacher.logits
        if self.standardise:
            z_s, z_t = standardise(z_s), standardise(z_t)
        weighted = [
            (self.instance, kd_loss),
            (self.classes, class_correlation_loss),
            (self.images, batch_correlation_loss),
        ]
        return {"mlkd": sum_of_terms([w * term(z_s, z_t, level) for level in self.levels for w, term in weighted])}
