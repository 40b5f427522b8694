"""Several networks' outputs as one: what each task takes for their mean.

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
from torch import Tensor


def mean_logits(
    logits: Sequence[Float[Tensor, "batch classes"]], shares: Sequence[float], temperature: float
) -> Float[Tensor, "batch classes"]:
    """Logits z such that softmax(z / T) is the mean of each softmax(logits / T) with weights `shares` of the sum 1.

    z = T log sum_i w_i softmax(z_i / T), in single precision at least. At another temperature T' the probabilities are
    those of the mean to the power T / T', normalised: the mean is softened as a whole, and not each of its parts.
    """
    parts = [torch.log_softmax(as_single(one) / temperature, dim=1) for one in logits]
    return temperature * log_mean(parts, shares)


def mean_binary_logits(
    logits: Sequence[Float[Tensor, "batch labels"]], shares: Sequence[float], temperature: float
) -> Float[Tensor, "batch labels"]:
    """The same of each label by itself, present or not: sigmoid(z / T) is the mean of each sigmoid(logits / T)."""
    softened = [as_single(one) / temperature for one in logits]
    present, absent = (
        log_mean([torch.nn.functional.logsigmoid(sign * one) for one in softened], shares) for sign in (1, -1)
    )
    return temperature * (present - absent)


def mean_numbers(
    outputs: Sequence[Float[Tensor, "batch outputs"]], shares: Sequence[float]
) -> Float[Tensor, "batch outputs"]:
    """The weighted mean itself, in single precision at least."""
    return torch.stack([share * as_single(one) for one, share in zip(outputs, shares, strict=True)]).sum(dim=0)


def log_mean(logs: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """The logarithm of the mean of what has these logarithms."""
    weighted = [part + math.log(share) for part, share in zip(logs, shares, strict=True)]
    return torch.logsumexp(torch.stack(weighted), dim=0)


def as_single(value: Tensor) -> Tensor:
    return value.to(torch.promote_types(value.dtype, torch.float32))
