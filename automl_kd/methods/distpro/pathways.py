"""Pathways: connections from a teacher's stage to a student's stage, each with its own loss.

Xueqing Deng, Dawei Sun, Shawn Newsam, Peng Wang. DistPro: Searching A Fast Knowledge Distillation Process via Meta
Optimization. 2022. arXiv:2204.05547. A pathway is a teacher's stage, a student's stage and a transform. The published
code connects a student's stage with the same or a shallower one of the teacher, by one kind of connector, and compares
by the hierarchical context loss; the paper speaks of several transforms for each connection, which are accepted here.
Soft targets on the logits are no pathway of the published code; here they are one if "logits" is among the stages.

A shared pathway compares at the smaller of the two resolutions. Repeating the pixels of the student's map up to the
teacher's, as the other kinds do, has the same gradient where sizes divide, and stores larger maps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.losses.base import Example, FeatureNames, beside, read_stages
from automl_kd.losses.features.hcl import hcl
from automl_kd.methods.distpro.connectors import CONNECTORS, SHARED, connector, shared_layers
from automl_kd.models.features import Outputs
from automl_kd.registry import suggestion
from automl_kd.spec import require
from automl_kd.tasks.soft_targets import kd_loss

LOGITS, SOFT_TARGETS = "logits", "kd"

ENTERED = "entered/"
"""Before the name of a stage of the student: what the shared pathways from it have in common."""

SETS: Mapping[str, Callable[[int, int], bool]] = {
    "lower": lambda teacher, student: student >= teacher,
    "same": lambda teacher, student: student == teacher,
    "all": lambda teacher, student: True,  # noqa: ARG005 - one signature for all sets
}
"""Whether the stages at these two places of the list are connected."""


class Pathway(NamedTuple):
    """Feature layers by name, or "logits", and how the student's feature is brought to the teacher's."""

    teacher: str
    student: str
    transform: str

    def __str__(self) -> str:
        return f"{self.teacher} -> {self.student} ({self.transform})"


def list_pathways(stages: str, connect: str, transforms: str) -> tuple[Pathway, ...]:
    """The pathways between `stages`, ordered by the teacher's stage, then the student's, then the transform.

    `stages`: feature layers from shallow to deep joined by "+", student:teacher where their names differ. "logits"
    among them adds one pathway of soft targets and takes part in no other. `connect`: an entry of `SETS`. `transforms`:
    entries of `CONNECTORS` joined by "+". `ValueError` for what cannot be read or leaves no pathway.
    """
    kinds = tuple(kind.strip() for kind in transforms.split("+"))
    for kind in kinds:
        require(kind in CONNECTORS, f"no transform is called {kind!r}; {suggestion(kind, CONNECTORS)}")
    require(connect in SETS, f"no set of pathways is called {connect!r}; {suggestion(connect, SETS)}")
    pairs = [pair for pair in read_stages(stages) if pair != (LOGITS, LOGITS)]
    soft = [Pathway(LOGITS, LOGITS, SOFT_TARGETS)] * (len(read_stages(stages)) - len(pairs))
    require(
        all(LOGITS not in pair for pair in pairs),
        f"logits can be compared with logits only; write the stage as {LOGITS}, got {stages!r}",
    )
    found = [
        Pathway(teacher, student, kind)
        for t, (_, teacher) in enumerate(pairs)
        for s, (student, _) in enumerate(pairs)
        if SETS[connect](t, s)
        for kind in kinds
    ] + soft
    require(len(set(found)) == len(found), f"stages or transforms name something twice: {stages!r}, {transforms!r}")
    return tuple(found)


def needed_features(pathways: Sequence[Pathway]) -> FeatureNames:
    """The feature maps that the pathways look at; the logits are always there."""
    maps = [pathway for pathway in pathways if pathway.transform != SOFT_TARGETS]
    return FeatureNames(tuple(dict.fromkeys(p.student for p in maps)), tuple(dict.fromkeys(p.teacher for p in maps)))


def seen(outputs: Outputs) -> dict[str, Tensor]:
    """Logits and features under one roof, as pathways name them."""
    return {LOGITS: outputs.logits, **outputs.features}


class PathwayLosses(nn.Module):
    """The pathways' losses, with their connectors, which are trained with the student.

    Each connector is its pathway's own. Shared pathways have what `entrances` make of the student's stages in common,
    by the stages' names in `entered`.

    `temperature` > 0: that of the soft targets. Raises `ConfigError` for features that no connector can join: maps
    (batch, channels, height, width) and vectors (batch, channels), which count as maps of one pixel, can be.
    """

    def __init__(self, pathways: Sequence[Pathway], example: Example, temperature: float = 4.0) -> None:
        super().__init__()
        self.pathways, self.temperature = tuple(pathways), temperature
        student, teacher = seen(example.student), seen(example.teacher)
        made = [make_connector(one, student[one.student], teacher[one.teacher]) for one in self.pathways]
        self.connectors = beside(nn.ModuleList(made), example)
        self.entered = tuple(dict.fromkeys(one.student for one in self.pathways if one.transform == SHARED))
        shared = [shared_layers(as_feature_map(student[name])) for name in self.entered]
        self.entrances = beside(nn.ModuleList(shared), example)

    def enter(self, student: Mapping[str, Tensor], places: Sequence[int] | None = None) -> dict[str, Tensor]:
        """The student's features, and what the entrances make of them for the pathways at `places`, or for all."""
        wanted = {self.input_name(place) for place in (range(len(self.pathways)) if places is None else places)}
        made = {
            ENTERED + name: self.entrances[at](as_feature_map(student[name]))
            for at, name in enumerate(self.entered)
            if ENTERED + name in wanted
        }
        return {**student, **made}

    def input_name(self, place: int) -> str:
        """What a pathway takes of the student, among what `enter` returns."""
        pathway = self.pathways[place]
        return ENTERED + pathway.student if pathway.transform == SHARED else pathway.student

    def forward(self, place: int, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """The loss of the pathway at `place`, from the features that it names; no gradient reaches the teacher's.

        `student`: its features, best as `enter` returns them, which spares what pathways share.
        """
        pathway, name = self.pathways[place], self.input_name(place)
        one = (student if name in student else self.enter(student, [place]))[name]
        two = teacher[pathway.teacher].detach()
        if pathway.transform == SOFT_TARGETS:
            return kd_loss(one, two, self.temperature)
        wanted = as_feature_map(two)
        found = self.connectors[place](as_feature_map(one), (wanted.shape[2], wanted.shape[3]))
        if pathway.transform == SHARED:
            found, wanted = at_smaller_size(found, wanted)
        loss: Tensor = hcl(found, wanted)
        return loss


def make_connector(pathway: Pathway, student: Tensor, teacher: Tensor) -> nn.Module:
    if pathway.transform == SOFT_TARGETS:
        if student.shape != teacher.shape:
            raise ConfigError(
                f"pathway {pathway} joins {student.shape[1]} student logits with {teacher.shape[1]} of the teacher; "
                "take a teacher of the same classes, or drop logits from the stages"
            )
        return nn.Identity()
    for side, found in (("student", student), ("teacher", teacher)):
        if found.ndim not in {2, 4}:
            raise ConfigError(
                f"pathway {pathway} needs a map (batch, channels, height, width) or a vector of each image, and the "
                f"{side}'s feature layer gives {tuple(found.shape)}; choose another feature layer"
            )
    return connector(pathway.transform, as_feature_map(student), as_feature_map(teacher))


def at_smaller_size(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps (batch, channels, height, width), averaged to the smaller height and the smaller width of the two."""
    (first, second), (third, fourth) = one.shape[2:], two.shape[2:]
    size = (min(first, third), min(second, fourth))
    fitting = (value if value.shape[2:] == size else F.adaptive_avg_pool2d(value, size) for value in (one, two))
    return next(fitting), next(fitting)


def as_feature_map(features: Tensor) -> Tensor:
    return features[:, :, None, None] if features.ndim == 2 else features
