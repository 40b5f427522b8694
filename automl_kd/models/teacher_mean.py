"""Several teachers as one network: the weighted mean of their softened outputs.

Geoffrey Hinton, Oriol Vinyals, Jeff Dean. Distilling the Knowledge in a Neural Network. 2015. arXiv:1503.02531,
section 1: the arithmetic mean of the predictive distributions. Shan You, Chang Xu, Chao Xu, Dacheng Tao. Learning from
Multiple Teacher Networks. KDD 2017, average softened outputs, all with the same weight. Unlike a mean of logits, it is
the prediction of a mixture, in which a teacher that is sure outweighs one that is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from automl_kd.models.pickled import label_pickled
from automl_kd.spec import TeacherSpec

DECIMALS = 4
"""Of shares, which are part of a trial's key."""


def normalise_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """The same shares with the sum 1, rounded to `DECIMALS`, each above 0; empty where all are equal."""
    total, least = math.fsum(shares), 10.0**-DECIMALS
    found = tuple(max(round(one / total, DECIMALS), least) for one in shares)
    return found if len(set(found)) > 1 else ()


def mean_logits(
    logits: Sequence[Float[Tensor, "batch classes"]], shares: Sequence[float], temperature: float
) -> Float[Tensor, "batch classes"]:
    """Logits z such that softmax(z / T) is the mean of each softmax(logits / T) with weights `shares` of the sum 1.

    z = T log sum_i w_i softmax(z_i / T), in single precision at least. At another temperature T' the probabilities are
    those of the mean to the power T / T', normalised: the mean is softened as a whole, and not each of its parts.
    """
    parts = [torch.log_softmax(as_single(one) / temperature, dim=1) for one in logits]
    weighted = [part + math.log(share) for part, share in zip(parts, shares, strict=True)]
    return temperature * torch.logsumexp(torch.stack(weighted), dim=0)


def as_single(value: Tensor) -> Tensor:
    return value.to(torch.promote_types(value.dtype, torch.float32))


class TeacherMean(nn.Module):
    """Networks that take the same images, each in its own way (`input_adapter`), and name the same classes.

    `shares` (above 0): of each network, in any scale; empty for equal ones. `temperature` (above 0): see `mean_logits`.
    There are no feature layers.
    """

    def __init__(self, members: Sequence[nn.Module], shares: Sequence[float] = (), temperature: float = 4.0) -> None:
        super().__init__()
        self.members, self.temperature = nn.ModuleList(members), temperature
        given = tuple(shares) or (1.0,) * len(members)
        self.shares = tuple(one / math.fsum(given) for one in given)

    def forward(self, images: Tensor) -> Tensor:
        return mean_logits([member(images) for member in self.members], self.shares, self.temperature)


def member_networks(teacher: nn.Module) -> list[nn.Module]:
    """The networks that a teacher is made of: itself, if it is one."""
    return list(teacher.members) if isinstance(teacher, TeacherMean) else [teacher]


def teacher_label(teacher: TeacherSpec) -> str:
    """The models of a teacher, for people: "resnet56 + wrn40-2"."""
    return " + ".join(label_pickled(one.model) for one in teacher.members)
