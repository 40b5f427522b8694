"""Optimizers and learning-rate schedules, from a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from automl_kd.spec import Recipe
from automl_kd.training.lamb import Lamb

LARGE = 2**20
"""Numbers of a weight, such as a table of words, which AdamW's single operators on a processor read from memory each
time. With 30,522 words of 384 channels a one-layer encoder's step took 174 ms so, and 96 in one operator (one thread).
"""


def make_optimizer(parameters: Iterable[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """One that changes all weights in one operator on a GPU, and on a processor where AdamW has large ones.

    If they lie in memory as that wants them. Without large ones results on a processor stay what they were, to the bit.
    """
    weights = list(parameters)
    fused = True if weights and all(map(takes_fused, weights)) and pays_fused(weights, recipe) else None
    groups, decay = weight_groups(weights, recipe), recipe.weight_decay
    if recipe.optimizer == "lamb":
        return Lamb(groups, lr=recipe.lr, weight_decay=decay, eps=recipe.eps)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=decay, eps=recipe.eps, fused=fused)
    optimizer = torch.optim.SGD(
        groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, weight_decay=decay, fused=fused
    )
    lay_moments(optimizer)
    return optimizer


def weight_groups(weights: list[nn.Parameter], recipe: Recipe) -> list[Any]:
    """All weights, or in two groups: those that decay, and biases and weights of normalisation, which are vectors."""
    if recipe.decay_norms:
        return [*weights]
    vectors = [weight for weight in weights if weight.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": [weight for weight in weights if weight.ndim > 1], "decays": True}]
    groups.append({"params": vectors, "weight_decay": 0.0, "decays": False})
    return [group for group in groups if group["params"]]


def set_decay(optimizer: torch.optim.Optimizer, decay: float) -> None:
    """Let what decays do so by `decay`."""
    for group in optimizer.param_groups:
        group["weight_decay"] = decay if group.get("decays", True) else 0.0


def takes_fused(weight: Tensor) -> bool:
    """Whether a fused operator changes this weight: its gradient, which torch lays out as the weight, must match it."""
    dense = weight.is_contiguous() or (weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last))
    return weight.device.type in {"cuda", "cpu"} and weight.is_floating_point() and dense


def pays_fused(weights: list[nn.Parameter], recipe: Recipe) -> bool:
    if all(weight.device.type == "cuda" for weight in weights):
        return True
    same = len({weight.device for weight in weights}) == 1
    return same and recipe.optimizer == "adamw" and any(weight.numel() >= LARGE for weight in weights)


def lay_moments(optimizer: torch.optim.Optimizer) -> None:
    """Give the weights of a fused optimizer moments that lie in memory as they do, and all of SGD's a momentum.

    A momentum of zeros leads to the step that torch takes without one. The fused operators refuse moments that lie
    otherwise, and weights of which only some have one, as when a loss with layers of its own joins later.
    """
    for group in optimizer.param_groups:
        for weight in group["params"] if group["fused"] else ():
            moments = {name: value for name, value in optimizer.state[weight].items() if name != "step"}
            if group.get("momentum"):
                moments.setdefault("momentum_buffer", None)
            for name, value in moments.items():
                laid = torch.zeros_like(weight, requires_grad=False)
                optimizer.state[weight][name] = laid if value is None else laid.copy_(value)


def resume(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Put a saved state back, wherever it was made and read to: moments beside their weights, counts of steps where
    the optimizer looks for them.

    A fused Adam counts on the device, another on the processor; it would wait for the device, for each weight and step.
    How steps are carried out is a matter of where the weights lie now.
    """
    ways = [{way: group[way] for way in ("fused", "foreach")} for group in optimizer.param_groups]
    optimizer.load_state_dict(dict(state))
    for group, way in zip(optimizer.param_groups, ways, strict=True):
        group.update(way)
        for weight in group["params"]:
            held = optimizer.state.get(weight, {})
            if isinstance(held.get("step"), Tensor):
                counted = held["step"]
                held["step"] = counted.to(weight.device, torch.float32) if group["fused"] else counted.cpu()
    lay_moments(optimizer)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The rate of optimizer step `step`, counted from 0 over the run: a pure function, so resuming needs no state.

    Linear warm-up, then a half cosine to zero at the end of the run, or drops by `gamma` at `milestones`.
    """
    total = recipe.total_steps(steps_per_epoch)
    warmup = round(recipe.warmup * total)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    if recipe.schedule == "multistep":
        return recipe.lr * recipe.gamma ** sum(step >= point * total for point in recipe.milestones)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))
