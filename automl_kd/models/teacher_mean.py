"""Several teachers as one network: the weighted mean of their outputs, as `tasks.mixture` has it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from automl_kd.models.pickled import label_pickled
from automl_kd.spec import TeacherSpec
from automl_kd.tasks import CLASSIFICATION, Task

DECIMALS = 4
"""Of shares, which are part of a trial's key."""


def normalise_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """The same shares with the sum 1, rounded to `DECIMALS`, each above 0; empty where all are equal."""
    total, least = math.fsum(shares), 10.0**-DECIMALS
    found = tuple(max(round(one / total, DECIMALS), least) for one in shares)
    return found if len(set(found)) > 1 else ()


class TeacherMean(nn.Module):
    """Networks that take the same images, each in its own way (`input_adapter`), and name the same classes.

    `shares` (above 0): of each network, in any scale; empty for equal ones. `temperature` (above 0), `task`: see
    `Task.average`. There are no feature layers.
    """

    def __init__(
        self,
        members: Sequence[nn.Module],
        shares: Sequence[float] = (),
        temperature: float = 4.0,
        task: Task = CLASSIFICATION,
    ) -> None:
        super().__init__()
        self.members, self.temperature, self.task = nn.ModuleList(members), temperature, task
        given = tuple(shares) or (1.0,) * len(members)
        self.shares = tuple(one / math.fsum(given) for one in given)

    def forward(self, images: Tensor) -> Tensor:
        return self.task.average([member(images) for member in self.members], self.shares, self.temperature)


def member_networks(teacher: nn.Module) -> list[nn.Module]:
    """The networks that a teacher is made of: itself, if it is one."""
    return list(teacher.members) if isinstance(teacher, TeacherMean) else [teacher]


def teacher_label(teacher: TeacherSpec) -> str:
    """The models of a teacher, for people: "resnet56 + wrn40-2"."""
    return " + ".join(label_pickled(one.model) for one in teacher.members)
