"""Plain knowledge distillation: the student matches the softened outputs of a fixed teacher.

Geoffrey Hinton, Oriol Vinyals, Jeff Dean. Distilling the Knowledge in a Neural Network. 2015. arXiv:1503.02531.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.losses.cross_entropy import label_loss
from automl_kd.methods.base import STEP, CostEstimate, train
from automl_kd.models.costs.cost import count_cost
from automl_kd.spec import Report, TrialPaths, TrialSpec, require
from automl_kd.teacher_cache.cached_teacher import teacher_outputs
from automl_kd.training.trial import TrialContext, load_teacher, prepare_trial


@dataclass(frozen=True)
class PlainKD:
    """Labels and soft targets of a fixed teacher. Hinton et al. 2015, arXiv:1503.02531.

    `temperature` > 0; `weight` in [0, 1] is the teacher's share of the loss, the labels have the rest. For images
    without a label there is that share alone.
    """

    needs_teacher: ClassVar[bool] = True
    uses_unlabelled: ClassVar[bool] = True
    any_task: ClassVar[bool] = True
    cached_features: ClassVar[tuple[str, ...]] = ()
    temperature: float = field(default=4.0, metadata={"live": True})
    weight: float = field(default=0.9, metadata={"live": True})

    def __post_init__(self) -> None:
        require(self.temperature > 0, f"temperature must be above 0, got {self.temperature}")
        require(0 <= self.weight <= 1, f"weight must lie in [0, 1], got {self.weight}")

    def macs(self, student: int, teacher: int) -> int:
        return STEP * student + teacher

    def cost(self, spec: TrialSpec, paths: TrialPaths) -> CostEstimate:
        context = prepare_trial(spec, paths, transfer=True)
        return CostEstimate.of(context, self.macs_per_image(context, load_teacher(context)))

    def macs_per_image(self, context: TrialContext, teacher: nn.Module) -> int:
        return self.macs(context.training_macs, count_cost(teacher, context.dataset.shape).macs)

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        context = prepare_trial(spec, paths, transfer=True)
        teacher = load_teacher(context)
        ask_teacher = teacher_outputs(context, teacher)
        how, unlabelled = spec.recipe, context.dataset.transfer is not None

        def objective(batch: Batch) -> Mapping[str, Tensor]:
            teacher_logits = ask_teacher(batch).logits
            logits = context.student(batch.inputs)
            return {
                "ce": (1 - self.weight)
                * label_loss(logits, batch, how.loss, how.label_smoothing, unlabelled=unlabelled),
                "kd": self.weight * batch.task.soft_loss(logits, teacher_logits, self.temperature),
            }

        train(context, objective, report, macs_per_image=self.macs_per_image(context, teacher))
