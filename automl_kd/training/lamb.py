"""LAMB: Adam whose step is as long, in each layer, as a fixed part of the layer's weights.

You, Li, Reddi, Hseu, Kumar, Bhojanapalli, Song, Demmel, Keutzer, Hsieh. Large Batch Optimization for Deep Learning:
Training BERT in 76 minutes. 2019. arXiv:1904.00962, algorithm 2, with phi(z) = z. As in the authors' code for BERT,
weights that do not decay keep Adam's own length (groups with `"decays": False`); those of norm 0 do as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

LAMB_BETAS = (0.9, 0.999)
"""Decays of the mean and the square of gradients, those of the paper."""


class Lamb(torch.optim.Optimizer):
    """Steps by operators that take all weights of a group at once, and do not wait for the device."""

    def __init__(self, params: Iterable[Any], *, lr: float, weight_decay: float = 0.0, eps: float = 1e-6) -> None:
        options = {"lr": lr, "weight_decay": weight_decay, "eps": eps, "decays": True, "fused": None, "foreach": True}
        super().__init__(params, options)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # as torch's own
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self.change(weights, group)
        return loss

    def change(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        # m, v, r and phi as in algorithm 2.
        for weight in weights:
            if not self.state[weight]:
                zeros = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
                self.state[weight] = {"step": torch.zeros((), device="cpu"), **zeros}
        states = [self.state[weight] for weight in weights]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        m, v = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
        for state in states:
            state["step"] += 1
        counts = [state["step"].item() for state in states]
        torch._foreach_lerp_(m, gradients, 1 - LAMB_BETAS[0])
        torch._foreach_mul_(v, LAMB_BETAS[1])
        torch._foreach_addcmul_(v, gradients, gradients, 1 - LAMB_BETAS[1])
        below = torch._foreach_sqrt(v)
        torch._foreach_div_(below, [(1 - LAMB_BETAS[1] ** count) ** 0.5 for count in counts])
        torch._foreach_add_(below, group["eps"])
        r = torch._foreach_div(m, [1 - LAMB_BETAS[0] ** count for count in counts])
        torch._foreach_div_(r, below)
        if group["weight_decay"]:
            torch._foreach_add_(r, weights, alpha=group["weight_decay"])
        if group["decays"]:
            torch._foreach_mul_(r, trust_ratios(weights, list(r)))
        torch._foreach_add_(weights, r, alpha=-group["lr"])


def trust_ratios(weights: list[Tensor], steps: list[Tensor]) -> list[Tensor]:
    """phi(|x|) / |r + lambda x| of each layer; 1 where one of the norms is 0."""
    own, wanted = torch.stack(torch._foreach_norm(weights)), torch.stack(torch._foreach_norm(steps))
    ratios = torch.where((own > 0) & (wanted > 0), own / wanted, 1.0)
    return list(ratios.unbind())
