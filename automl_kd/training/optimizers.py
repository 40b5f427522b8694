"""Optimizers and learning-rate schedules, from a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from automl_kd.spec import Recipe


def make_optimizer(parameters: Iterable[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        parameters,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )


def resume(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Put a saved state back, wherever it was read to: moments beside their weights, counts of steps on the processor.

    There torch's Adam puts a count itself; one that lies on the device it waits for, for each weight and step.
    """
    optimizer.load_state_dict(dict(state))
    for held in optimizer.state.values():
        if isinstance(held.get("step"), torch.Tensor):
            held["step"] = held["step"].cpu()


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The rate of optimizer step `step`, counted from 0 over the run: a pure function, so resuming needs no state.

    Linear warm-up, then a half cosine to zero at the end of the run, or drops by `gamma` at `milestones`.
    """
    total = recipe.epochs * steps_per_epoch
    warmup = round(recipe.warmup * total)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    if recipe.schedule == "multistep":
        return recipe.lr * recipe.gamma ** sum(step >= point * total for point in recipe.milestones)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))
