"""One for all: the student's stages learn the teacher's answer, each by a classifier of its own.

Zhiwei Hao, Jianyuan Guo, Kai Han, Yehui Tang, Han Hu, Yunhe Wang, Chang Xu. One-for-All: Bridge the Gap Between
Heterogeneous Architectures in Knowledge Distillation. 2023. arXiv:2310.19444. Since only logits are compared, student
and teacher may be of any kind. Weights 1 throughout, temperature 1, exponent 1 for CIFAR and 1.5 for convolutional
networks on ImageNet, as published. The paper's heads end as wide as the wider network's features; here a head doubles
its width with each halving of its map.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard, beside, example_maps, sum_of_terms
from automl_kd.models.blocks import global_pool
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32
from automl_kd.tasks.soft_targets import Number


@in_float32
def ofa_loss(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    exponent: Number,
    temperature: Number,
) -> Float[Tensor, ""]:
    """-sum_c ((q_c + [c = label])^exponent - [c = label]) log p_c, averaged over the batch.

    p, q: softened probabilities of student and teacher. With exponent 1 it is their cross entropy; a larger one gives
    the target class more weight the surer the teacher is of it.
    """
    log_p = F.log_softmax(student / temperature, dim=1)
    target = F.one_hot(labels, student.shape[1])
    goal = (teacher.detach() / temperature).softmax(dim=1) + target
    return -((goal**exponent - target) * log_p).sum(dim=1).mean()


def exit_classifier(channels: int, classes: int, halvings: int) -> nn.Sequential:
    """Separable convolutions that halve a map `halvings` times and double its width, then a linear classifier."""
    widths = [channels * 2**step for step in range(halvings + 1)]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [
            nn.Conv2d(inputs, inputs, 3, stride=2, padding=1, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, global_pool(), nn.Linear(widths[-1], classes))


@dataclass(frozen=True)
class OFA:
    """Classifiers on the student's stages, trained on the teacher's logits. Hao et al. 2023, arXiv:2310.19444.

    `stages`: the student's feature layers with a classifier, shallow to deep, joined by "+". `exponent` >= 1.
    `temperature` > 0.
    """

    standard: ClassVar[Standard] = Standard(weight=1.0)
    needs_labels: ClassVar[bool] = True
    stages: str = "stage1+stage2+stage3"
    exponent: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        require(self.exponent >= 1, f"exponent must be 1 or more, got {self.exponent}")
        require(self.temperature > 0, f"temperature must be above 0, got {self.temperature}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames(student=FeatureNames.of(self.stages).student)

    def make(self, example: Example) -> StageClassifiers:
        return beside(StageClassifiers(self, example), example)


class StageClassifiers(nn.Module):
    def __init__(self, options: OFA, example: Example) -> None:
        super().__init__()
        self.options, self.names = options, options.features.student
        students_own = Example(**{**vars(example), "teacher": example.student})
        maps = [one for one, _ in example_maps("ofa", "+".join(self.names), students_own)]
        self.heads = nn.ModuleList(
            exit_classifier(found.shape[1], example.classes, len(maps) - 1 - place) for place, found in enumerate(maps)
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:
        answers = [head(student.features[name]) for name, head in zip(self.names, self.heads, strict=True)]
        losses = [
            ofa_loss(answer, teacher.logits, batch.labels, self.options.exponent, self.options.temperature)
            for answer in [student.logits, *answers]
        ]
        return {"ofa": sum_of_terms(losses)}
