"""The next step of a torch optimizer, copied out of it as a pure function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from automl_kd.bilevel.inner_step import SGD, Adam, InnerStep, OptimizerMemory, Rule
from automl_kd.errors import ConfigError
from automl_kd.registry import suggestion

REMEMBERED = ("momentum_buffer", "exp_avg", "exp_avg_sq")


def step_of(optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor], clip_norm: float = 0.0) -> InnerStep:
    """The step that `optimizer` would take next on `parameters`, a network's own tensors by name.

    Its memory is copied, so the result keeps meaning that step after the optimizer has gone on. Weights may lie in
    groups of different options. `clip_norm`: as given to clip_grad_norm_ for these parameters, 0 for none.
    Raises `ConfigError` for other optimizers than SGD, Adam and AdamW, for variants of them that are not supported, and
    for a parameter that the optimizer does not train.
    """
    groups = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    if strange := [name for name, parameter in parameters.items() if id(parameter) not in groups]:
        raise ConfigError(f"weight {strange[0]!r} is in no group of the optimizer; name only weights that it trains")
    return InnerStep(
        rules={name: rule_of(optimizer, groups[id(parameter)]) for name, parameter in parameters.items()},
        memories={name: memory_of(optimizer, parameter) for name, parameter in parameters.items()},
        clip_norm=clip_norm,
    )


def rule_of(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> Rule:
    if strange := [option for option in ("amsgrad", "maximize") if group.get(option)]:
        raise ConfigError(f"the inner optimizer has {strange[0]} switched on, which is not supported; switch it off")
    if isinstance(optimizer, torch.optim.SGD):
        return SGD(
            **numeric_options(group, ("lr", "momentum", "dampening", "weight_decay")), nesterov=bool(group["nesterov"])
        )
    if isinstance(optimizer, torch.optim.Adam):  # AdamW derives from it
        return Adam(
            **numeric_options(group, ("lr", "eps", "weight_decay")),
            betas=tuple(group["betas"]),
            decoupled=bool(group["decoupled_weight_decay"]),
        )
    name = type(optimizer).__name__
    raise ConfigError(
        f"the inner optimizer is {name}, wanted is SGD, Adam or AdamW; {suggestion(name, ('SGD', 'Adam', 'AdamW'))}"
    )


def numeric_options(group: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The options as floats, or tensors where they are tensors: torch's own defaults are integers here and there."""
    return {name: 1.0 * group[name] for name in names}


def memory_of(optimizer: torch.optim.Optimizer, parameter: Tensor) -> OptimizerMemory:
    held = optimizer.state.get(parameter, {})
    memory = {name: held[name].clone() for name in REMEMBERED if held.get(name) is not None}
    if "step" in held:
        memory["step"] = torch.as_tensor(held["step"]).to(torch.float64, copy=True)
    return memory
