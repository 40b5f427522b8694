"""A teacher from a file: it is not trained, but measured once as students are, and the result is kept.

Only what lies in a file can be of another order of classes, normalised otherwise, or not trained at all, and every
student would learn from it all the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from automl_kd import distributed, storage
from automl_kd.errors import ConfigError, TrialError
from automl_kd.files import read_json
from automl_kd.methods.base import CostEstimate
from automl_kd.models.costs.cost import count_cost
from automl_kd.results.store.row import FROM_FILE
from automl_kd.space import Architecture
from automl_kd.spec import DataSpec, Recipe, Report, TeacherSpec, TrialPaths, TrialSpec
from automl_kd.training.evaluate import evaluate
from automl_kd.training.trial import TrialContext, load_dataset, load_teacher, teacher_file

MEASURED_FILE = "measured.json"
"""In the folder of such a trial, its metrics."""


def measuring_trial(teacher: TeacherSpec, data: DataSpec, recipe: Recipe, workers: int = 1) -> TrialSpec:
    """The trial that measures a teacher from a file as students of `recipe` are measured, by so many workers."""
    return TrialSpec(
        space=f"model:{teacher.model}",
        architecture=Architecture(()),
        method=FROM_FILE,
        data=data,
        teacher=replace(teacher, outputs=TeacherSpec.outputs),
        recipe=Recipe(epochs=1, batch_size=64 * workers, amp=recipe.amp, channels_last=recipe.channels_last),
        seed=0,
    )


@dataclass(frozen=True)
class FromFile:
    """Measures the teacher that is in a file, on validation and test images; for teachers only."""

    needs_teacher: ClassVar[bool] = True
    any_task: ClassVar[bool] = True

    def macs(self, student: int, teacher: int) -> int:  # noqa: ARG002 - nothing is trained
        return 0

    def dry_run(self, context: TrialContext, teacher: nn.Module) -> None:  # noqa: ARG002 - it is refused whatever it is
        raise ConfigError(
            f"method {context.spec.method!r} trains no student: it measures a teacher from a file; choose "
            "another method"
        )

    def cost(self, spec: TrialSpec, paths: TrialPaths) -> CostEstimate:  # noqa: ARG002 - nothing is trained
        return CostEstimate(0.0)

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        kept = paths.trial / MEASURED_FILE
        if distributed.from_main_process(kept.exists()):
            report(read_json(kept), epoch=1)
            return
        metrics = measure_teacher(spec, paths)
        if distributed.is_main_process():
            storage.write(kept, json.dumps(metrics))
        report(metrics, epoch=1)


def measure_teacher(spec: TrialSpec, paths: TrialPaths) -> Mapping[str, float]:
    """Accuracies and loss of the teacher in its file; raise `TrialError` if its outputs are not finite."""
    assert spec.teacher is not None  # its file is what the trial is about
    dataset = load_dataset(spec.data, paths.data, paths.device, paths.loader)
    teacher = load_teacher(TrialContext(spec, paths, dataset, nn.Identity()))
    file = " + ".join(str(teacher_file(one, spec.data, paths)) for one in spec.teacher.members)
    accuracy, loss = evaluate(teacher, dataset, dataset.validation, spec.recipe)
    if not math.isfinite(loss):
        raise TrialError(
            f"outputs of the teacher of {file} on validation images are not finite (its loss is {loss}), though its "
            "weights are; look for what overflows in it, as half precision may (recipe.amp = false switches that off)"
        )
    test_accuracy, _ = evaluate(teacher, dataset, dataset.test, spec.recipe)
    cost = count_cost(teacher, dataset.shape)
    spent = {"params": cost.params, "macs": cost.macs, "train_macs": 0.0, "seconds": 0.0}
    return {"val_accuracy": accuracy, "val_loss": loss, "test_accuracy": test_accuracy, **spent}
