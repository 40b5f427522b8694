"""Gradient accumulation: one step on the mean loss of several micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from automl_kd.bilevel.backbone_jvp import Pathways
from automl_kd.bilevel.base import Problem, Tensors, select_prefix


def accumulated(problems: Sequence[Problem]) -> Problem:
    """The problem whose inner loss is the mean of those of `problems`, one for each micro-batch.

    The outer loss, the step and the strengths of pathways are the first problem's. Equal to one large batch if the
    micro-batches are of one size and no layer mixes images, as batch normalisation does.
    """

    def outputs(weights: Tensors) -> dict[str, Tensor]:
        return {f"{i}/{name}": value for i, one in enumerate(problems) for name, value in one.outputs(weights).items()}

    return replace(problems[0], loss=mean_loss([one.loss for one in problems]), outputs=outputs)


def mean_loss(losses: Sequence[Callable[[Tensors, Tensors], Tensor]]) -> Callable[[Tensors, Tensors], Tensor]:
    """The mean of the losses, of which the i-th sees the outputs under "i/"; `Pathways` if all of them are."""
    linear = [loss for loss in losses if isinstance(loss, Pathways)]
    if len(linear) == len(losses):
        return Pathways(
            base=mean_part([loss.base for loss in linear]),
            losses=[mean_part(column) for column in zip(*(loss.losses for loss in linear), strict=True)],
            strengths=linear[0].strengths,
        )

    def mean(seen: Tensors, hypers: Tensors) -> Tensor:
        return torch.stack([loss(select_prefix(seen, f"{i}/"), hypers) for i, loss in enumerate(losses)]).mean()

    return mean


def mean_part(terms: Sequence[Callable[[Tensors], Tensor]]) -> Callable[[Tensors], Tensor]:
    def mean(seen: Tensors) -> Tensor:
        return torch.stack([term(select_prefix(seen, f"{i}/")) for i, term in enumerate(terms)]).mean()

    return mean
