"""Decoupled knowledge distillation: separate terms for the target class, and for the other classes among themselves.

Borui Zhao, Quan Cui, Renjie Song, Yiyu Qiu, Jiajun Liang. Decoupled Knowledge Distillation. 2022. arXiv:2203.08679. The
published code leaves the target class out by subtracting 1000 from its logit and takes logarithms of probabilities,
which become infinite when one underflows. Here the other classes' logits are picked out and all logarithms are
differences of log-sum-exps, which are finite for finite logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard
from automl_kd.losses.logits.logit_standardisation import standardise
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32
from automl_kd.tasks.soft_targets import Number


@in_float32
def dkd_loss(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    alpha: Number,
    beta: Number,
    temperature: Number,
) -> Float[Tensor, ""]:
    """Alpha TCKD + beta NCKD, both times the temperature's square, averaged over the batch.

    TCKD: KL between the networks' two-class distributions (target, rest). NCKD: KL between their distributions over
    the other classes alone; zero where there is only one other class.
    """
    binary_s, rest_s = decouple(student / temperature, labels)
    binary_t, rest_t = decouple(teacher.detach() / temperature, labels)
    target = F.kl_div(binary_s, binary_t, reduction="batchmean", log_target=True)
    other = F.kl_div(rest_s, rest_t, reduction="batchmean", log_target=True)
    return (alpha * target + beta * other) * temperature**2


def decouple(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, "batch 2"], Float[Tensor, "batch others"]]:
    """Log probabilities of (target, rest), and those of the other classes given that it is not the target."""
    places = torch.arange(logits.shape[1] - 1, device=logits.device)
    # The places of all classes but the label, in order: those at or above the label move up by one.
    others = logits.gather(1, places + (places >= labels[:, None]))
    binary = torch.cat([logits.gather(1, labels[:, None]), others.logsumexp(dim=1, keepdim=True)], dim=1)
    return F.log_softmax(binary, dim=1), F.log_softmax(others, dim=1)


@dataclass(frozen=True)
class DKD:
    """Soft targets, the target class and the others weighted apart. Zhao et al. 2022, arXiv:2203.08679.

    `alpha`, `beta` >= 0 for the target class and the others; the benchmark takes beta 2 for resnet56 to resnet20 and
    resnet110 to resnet32, 6 for wrn-40-2 to wrn-16-2 and wrn-40-1 and for vgg13 to vgg8 and MobileNetV2, 8 for all
    other pairs. `temperature` > 0. `standardise`: standardise the logits first (Sun et al. 2024), for which that paper
    takes temperature 2 and both weights times 9.
    """

    standard: ClassVar[Standard] = Standard(weight=1.0, warmup=20 / 240)
    needs_labels: ClassVar[bool] = True
    alpha: float = 1.0
    beta: float = 8.0
    temperature: float = 4.0
    standardise: bool = False

    def __post_init__(self) -> None:
        require(min(self.alpha, self.beta) >= 0, f"alpha and beta must be 0 or more, got {self.alpha}, {self.beta}")
        require(self.temperature > 0, f"temperature must be above 0, got {self.temperature}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames()

    def make(self, example: Example) -> DKD:  # noqa: ARG002 - nothing to build
        return self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:
        z_s, z_t = student.logits, teacher.logits
        if self.standardise:
            z_s, z_t = standardise(z_s), standardise(z_t)
        return {"dkd": dkd_loss(z_s, z_t, batch.labels, self.alpha, self.beta, self.temperature)}
