"""What a network is asked to say of its inputs: one class, several, or numbers. May import `spec` and below.

A task knows what a label is, the loss on it, what is measured and how a set is divided evenly. What the inputs are,
images or texts, is no matter of it. Detection and generation are not covered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from automl_kd.registry import lookup
from automl_kd.tasks.base import UNLABELLED, LabelForm, Targets, Task, TaskMeasures
from automl_kd.tasks.classification import Classification
from automl_kd.tasks.multi_label import MultiLabel
from automl_kd.tasks.regression import RegressionTask

__all__ = ["CLASSIFICATION", "TASKS", "UNLABELLED", "LabelForm", "Targets", "Task", "TaskMeasures", "find_task"]

CLASSIFICATION = Classification()

TASKS: Mapping[str, Callable[[], Task]] = {
    "classification": Classification,
    "multi-label": MultiLabel,
    "regression": RegressionTask,
}
"""By the name in `data.task`."""


def find_task(name: str, metric: str = "") -> Task:
    """The task called `name`, which follows `metric`; its usual one where that is empty.

    `UnknownNameError` if there is no such task, or it does not measure that.
    """
    made = lookup(TASKS, name, "task")
    lookup(dict.fromkeys(made.metrics), metric or made.metrics[0], "metric")  # type: ignore[attr-defined]
    return made(metric) if metric else made()  # type: ignore[call-arg]
