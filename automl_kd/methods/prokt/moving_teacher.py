"""A teacher that is trained in the trial: its start, and its outputs without side effects."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from automl_kd.errors import ConfigError, TrialError
from automl_kd.methods.weighted_losses import last_linear
from automl_kd.models.costs.cost import evaluating
from automl_kd.models.features import FeatureExtractor, Outputs
from automl_kd.seeds import derive
from automl_kd.training.trial import TrialContext, build_teacher, load_teacher, to_trial_device

STARTS = ("finetuned", "pretrained", "scratch")
"""The teacher as it was trained; its body with a new last layer; new weights altogether."""


def starting_teacher(context: TrialContext, start: str) -> nn.Module:
    """The trial's teacher with a start of `STARTS`, with gradients, in evaluation mode."""
    if start == "finetuned":
        return load_teacher(context).requires_grad_(True)
    spec, shape = context.spec, context.dataset.shape
    if spec.teacher is None:
        raise TrialError(f"method {spec.method!r} needs a teacher and the trial names none; add a [teacher] section")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(derive(spec.seed, "teacher") % 2**32)
        fresh = build_teacher(spec.teacher, context.dataset)
    if start == "scratch":
        return to_trial_device(fresh.eval(), spec, context.paths, shape)
    network = load_teacher(context)
    head_of(network).load_state_dict(head_of(fresh).state_dict())
    return network.requires_grad_(True)


def head_of(model: nn.Module) -> nn.Linear:
    if (head := last_linear(model)) is None:
        raise ConfigError(
            f"{type(model).__name__} has no linear layer that could begin anew; set start to 'finetuned' or 'scratch' "
            "and zero_heads to false"
        )
    return head


def zero_head(model: nn.Module) -> None:
    for parameter in head_of(model).parameters():
        nn.init.zeros_(parameter)


def probe(network: FeatureExtractor, inputs: Tensor) -> Outputs:
    """The network's outputs in evaluation mode; no buffer changes, nothing is drawn, no graph is built."""
    with evaluating(network.model), torch.no_grad():
        return network(inputs)


def detach_outputs(outputs: Outputs) -> Outputs:
    return Outputs(outputs.logits.detach(), {name: value.detach() for name, value in outputs.features.items()})


def uncached(device: torch.device) -> torch.autocast:
    """The autocast that is on, without its memory of weights in half precision.

    That memory lasts until autocast ends, which is after the teacher's step: the teacher would run again with the
    weights of before it.
    """
    kind = device.type
    dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    return torch.autocast(kind, dtype, enabled=enabled, cache_enabled=False)
