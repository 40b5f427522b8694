"""What all proxies are shown: one mini-batch, and what the teacher makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from automl_kd.errors import DataError
from automl_kd.models.fast_norm import quicken
from automl_kd.models.features import FeatureExtractor, Outputs, list_feature_layers
from automl_kd.models.foreign.adoption import unchecked
from automl_kd.models.foreign.layout import lay_out
from automl_kd.models.memory_layout import channels_last
from automl_kd.proxies.guard import untouched
from automl_kd.proxies.initialisation import normal_weights
from automl_kd.space import InputShape

PROXY_FEATURES = ("pre_pool", "pooled")
"""What is kept of a forward pass: the last map before global pooling, and the vectors that the classifier sees."""


@dataclass(frozen=True, eq=False)
class Probe:
    """One mini-batch and what the teacher makes of it: all that a proxy may look at besides the student.

    `images`: (batch, channels, height, width), normalised as for training; of texts tokens, int64 (batch, length).
    `labels`: (batch,), in 0 .. classes - 1.
    `teacher`: the teacher's outputs on `images` at the feature layers of `PROXY_FEATURES` and at its stages, computed
    once and shared by all students; None where there is no teacher. All tensors lie on one device, which is where
    students are scored. Raises `DataError` if the images or labels do not fit `shape`.
    """

    images: Tensor
    labels: Tensor
    shape: InputShape
    teacher: Outputs | None = None
    known: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        blank = self.shape.blank(len(self.labels), torch.empty(0, device="meta"))
        wanted = (len(self.labels), *(blank if blank.ndim == 4 else self.images).shape[1:])  # texts differ in length
        if tuple(self.images.shape) != wanted or not len(self.labels):
            raise DataError(
                f"a probe got images of shape {tuple(self.images.shape)}, but {len(self.labels)} labels and the task "
                f"want {wanted}; give one label for each image of the task's shape"
            )
        if int(self.labels.min()) < 0 or int(self.labels.max()) >= self.shape.classes:
            raise DataError(
                f"a probe got labels from {int(self.labels.min())} to {int(self.labels.max())}, but the task has "
                f"{self.shape.classes} classes; number them 0 to {self.shape.classes - 1}"
            )

    @property
    def of_tokens(self) -> bool:
        return not self.images.is_floating_point()

    def once(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """What follows from the probe alone, computed when the first student asks for it."""
        if name not in self.known:
            self.known[name] = compute()
        return self.known[name]

    def to(self, device: str | torch.device) -> Probe:
        """The same probe on another device."""
        teacher = self.teacher
        if teacher is not None:
            teacher = Outputs(
                teacher.logits.to(device), {name: one.to(device) for name, one in teacher.features.items()}
            )
        return Probe(self.images.to(device), self.labels.to(device), self.shape, teacher)


def without_dropout(network: nn.Module) -> None:
    """Set all rates of dropout to 0, in place."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):  # of recurrent layers, and of attention
            module.dropout = 0.0  # type: ignore[assignment]


def is_stage(name: str) -> bool:
    """Whether a feature layer is the map that leaves a stage, after its activation if it ends in one."""
    return name.startswith("stage") and "." not in name


def forward(network: nn.Module, images: Tensor) -> Outputs:
    """Logits, `PROXY_FEATURES` and the stages. `UnknownNameError` if the network lacks one of the first."""
    with FeatureExtractor(network, (*PROXY_FEATURES, *filter(is_stage, list_feature_layers(network)))) as extractor:
        return extractor(images)


def make_probe(
    images: Tensor,
    labels: Tensor,
    shape: InputShape,
    teacher: nn.Module | None = None,
    *,
    seed: int | None = None,
    views: Tensor | None = None,
) -> Probe:
    """The probe for these images, with the teacher run once in training mode (batch statistics).

    `seed`: draw the teacher's weights from N(0, 1) as DisWOT's ranking does; None keeps those it has, which suits a
    trained teacher. `views`: the same images as a trained teacher takes them, which then is run in evaluation mode. The
    teacher itself is left as it was.
    """
    images = channels_last(images)
    if teacher is None:
        return Probe(images, labels, shape)
    with untouched(teacher), torch.no_grad():
        lay_out(teacher.to(images.device), shape, torch.channels_last)
        teacher.train(views is None)
        if not images.is_floating_point():
            without_dropout(teacher)  # students of texts have none either
        if seed is not None:
            normal_weights(teacher, "teacher", seed)
        if views is None:
            quicken(teacher)  # for statistics of the batch
        with unchecked(teacher):  # a sentence of its own follows
            outputs = forward(teacher, images if views is None else views)
    if outputs.logits.shape[1] != shape.classes:
        raise DataError(
            f"the teacher has {outputs.logits.shape[1]} classes, but the task has {shape.classes}; "
            "take a teacher for this task"
        )
    return Probe(images, labels, shape, outputs)
