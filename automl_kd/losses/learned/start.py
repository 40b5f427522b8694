"""Where a learned loss begins: at plain distillation, exactly for weights in (0, 2), fitted to it for the free form.

The source is given in `automl_kd.losses.learned.loss`. That the networks begin close to KD is a reconstruction, as are
the numbers below.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from automl_kd.losses.learned.loss import HIDDEN_WIDTH, LossLayout, class_inputs, perceptron
from automl_kd.seeds import derive

FIT_STEPS = 1500
FIT_BATCH, FIT_CLASSES = 64, 10
FIT_RATE = 1e-2


def initial_phi(layout: LossLayout, temperature: float, *, seed: int) -> dict[str, Tensor]:
    """float32 on the CPU; depends on the arguments alone. The last layers of weights are zero."""
    phi: dict[str, Tensor] = {}
    for name, inputs in layout.networks().items():
        generator = torch.Generator().manual_seed(derive(seed, name))
        free = layout.form == "free" and name == "logits"
        found = initial_layer(inputs, generator, zero_last=not free)
        if free:
            found = fit_to_kd(found, layout, temperature, generator)
        phi |= {f"{name}.{key}": value for key, value in found.items()}
    return phi


def initial_layer(inputs: int, generator: torch.Generator, *, zero_last: bool) -> dict[str, Tensor]:
    """Weights uniform within 1 / sqrt(inputs of the layer), as in torch's linear layers; biases zero."""
    weights: dict[str, Tensor] = {}
    for layer, (into, out) in {
        "first": (inputs, HIDDEN_WIDTH),
        "second": (HIDDEN_WIDTH, HIDDEN_WIDTH),
        "last": (HIDDEN_WIDTH, 1),
    }.items():
        bound = 0.0 if zero_last and layer == "last" else into**-0.5
        weights[f"{layer}.weight"] = (2 * torch.rand(out, into, generator=generator) - 1) * bound
        weights[f"{layer}.bias"] = torch.zeros(out)
    return weights


def share_of_kd(
    student: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"], temperature: float
) -> Float[Tensor, "batch classes"]:
    """T^2 (p_t log(p_t / p_s) - p_t + p_s): each at least 0, and the sum over classes is KD."""
    log_p, log_q = (F.log_softmax(logits / temperature, dim=1) for logits in (student, teacher))
    return (log_q.exp() * (log_q - log_p) - log_q.exp() + log_p.exp()) * temperature**2


def fit_to_kd(
    weights: dict[str, Tensor], layout: LossLayout, temperature: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """The free form after Adam has fitted each class's value to its share of KD, on random pairs of logits."""
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    optimizer = torch.optim.Adam(leaves.values(), lr=FIT_RATE)
    for _ in range(FIT_STEPS):
        error = fit_error(leaves, layout, temperature, generator)
        optimizer.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        optimizer.step()
    return {name: value.detach() for name, value in leaves.items()}


def fit_error(
    weights: dict[str, Tensor], layout: LossLayout, temperature: float, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Mean squared error on one batch whose students range from strangers to copies of their teachers."""
    teacher = temperature * torch.randn(FIT_BATCH, FIT_CLASSES, generator=generator)
    apart = torch.rand(FIT_BATCH, 1, generator=generator)
    student = (1 - apart) * teacher + apart * temperature * torch.randn(teacher.shape, generator=generator)
    labels = teacher.argmax(1) if layout.label else None
    value = F.softplus(perceptron(class_inputs(student, teacher, labels, temperature), weights))
    return (value - share_of_kd(student, teacher, temperature)).square().mean()
