"""The dry run: checks, before anything is trained, that a trial's feature layers, losses and files fit its networks.

A method that has more to check than its options has a `dry_run`. The networks are untrained and the images few, so
that this takes a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from torch import nn

from automl_kd.errors import ConfigError, UnknownNameError
from automl_kd.losses import DISTILLATION_LOSSES
from automl_kd.losses.base import FeatureNames
from automl_kd.models.black_box.network import BlackBox
from automl_kd.models.features import FeatureExtractor
from automl_kd.training.trial import TrialContext

DRY_RUN_IMAGES = 4
"""Images of a dry run."""


@runtime_checkable
class DryRunnable(Protocol):
    """A method whose `dry_run` raises an `AutoMLKDError` if its trials would fail.

    `dry_run` gets a trial context whose folder does not exist, and a teacher with random weights, frozen and in
    evaluation mode. It trains and writes nothing.
    """

    def dry_run(self, context: TrialContext, teacher: nn.Module) -> None: ...


@contextmanager
def open_extractors(
    context: TrialContext, teacher: nn.Module, features: FeatureNames
) -> Iterator[tuple[FeatureExtractor, FeatureExtractor]]:
    """Student and teacher with their feature layers; an `UnknownNameError` names the network.

    `ConfigError` for feature layers of a teacher that is a file.
    """
    if features.teacher and isinstance(teacher, BlackBox):
        wanted = f"looks at feature maps of its teacher ({', '.join(features.teacher)})"
        raise needs_more_than_logits(context.spec.method, wanted, teacher.graph.name)
    with (
        open_features(context.student, features.student, "student") as student,
        open_features(teacher, features.teacher, "teacher") as teacher_network,
    ):
        yield student, teacher_network


def needs_more_than_logits(method: str, wanted: str, file: str) -> ConfigError:
    """The refusal of a teacher in `file` for what `method` does with its teacher."""
    losses = [name for name, loss in DISTILLATION_LOSSES.items() if not loss().features.teacher]
    return ConfigError(
        f"method {method!r} {wanted}, and {file} gives its logits alone; take kd, lkd without stages, or "
        f"weighted_losses of {', '.join(losses)}"
    )


def open_features(model: nn.Module, names: tuple[str, ...], side: str) -> FeatureExtractor:
    try:
        return FeatureExtractor(model, names)
    except UnknownNameError as error:
        raise UnknownNameError(f"the {side}: {error}") from error
