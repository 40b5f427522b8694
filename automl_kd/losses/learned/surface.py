"""What a learned loss of logits has learned, as numbers to draw: its answer over both networks' probabilities."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from automl_kd.losses.learned.loss import LossLayout, Phi, class_inputs, gate, perceptron, subnetwork_parameters

GRID_POINTS = 41
LEAST_PROBABILITY = 1e-3


def probabilities() -> Float[np.ndarray, " points"]:
    """Points of the surface, ascending in (0, 1)."""
    return np.linspace(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY, GRID_POINTS)


def surface(
    phi: Phi, layout: LossLayout, temperature: float, classes: int
) -> dict[str, Float[np.ndarray, "points points"]]:
    """The weight (weighted form) or the cost (free form) of one class, by teacher's (rows) and student's probability.

    The other classes share what is left equally. One surface for the true class and one for any other, or a single one
    where the loss does not see the label. Empty for a layout without a network for logits.
    """
    if not layout.logits:
        return {}
    weights = {name: value.detach().double().cpu() for name, value in subnetwork_parameters(phi, "logits").items()}
    labels: dict[str, int | None] = {"true class": 0, "other class": 1} if layout.label else {"any class": None}
    return {name: one_surface(weights, layout, temperature, classes, label) for name, label in labels.items()}


def one_surface(weights: Phi, layout: LossLayout, temperature: float, classes: int, label: int | None) -> np.ndarray:
    p = torch.from_numpy(probabilities())
    by_teacher, by_student = (logits_with(p, temperature, classes)[places] for places in grid(len(p)))
    labels = None if label is None else torch.full((len(by_teacher),), label)
    inputs = class_inputs(by_student, by_teacher, labels, temperature)[:, 0]
    found = gate(inputs, weights) if layout.form == "weighted" else F.softplus(perceptron(inputs, weights))
    return found.view(len(p), len(p)).numpy()


def grid(count: int) -> tuple[Tensor, Tensor]:
    rows = torch.arange(count)
    return rows.repeat_interleave(count), rows.repeat(count)


def logits_with(p: Tensor, temperature: float, classes: int) -> Float[Tensor, "points classes"]:
    """Logits whose softmax at `temperature` gives the first class the probability p, the others the rest equally."""
    rest = ((1 - p) / (classes - 1)).log()[:, None].expand(-1, classes - 1)
    return torch.cat([p.log()[:, None], rest], dim=1) * temperature
