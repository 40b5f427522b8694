"""Learned losses: small networks, shared by all classes and positions, that weight a student's outputs.

Ran, Huang, Yang. Tailored knowledge distillation with automated loss function learning. 2025. PLoS ONE 20(6): e0325599.
The paper states that there is one generic network for logits and one for feature maps. Its equations and layer sizes
could not be recovered, so inputs, widths and forms below are a reconstruction. Every class (or element of a map) is
judged by one perceptron of two hidden layers of 16, with tanh, whose second derivative is not zero:

    logits   p_s, p_t, both networks' logits standardised over the classes, and whether the class is the label
    maps     f_s, f_t, (f_s - f_t)^2 and f_s f_t, of maps standardised per channel

phi stands for the weights of all these networks, a mapping of tensors, so that an outer problem can move them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from automl_kd import distributed
from automl_kd.losses.base import Example, LossTerms, beside, both, example_maps, same_size, sum_of_terms
from automl_kd.losses.cross_entropy import cross_entropy
from automl_kd.models.blocks import convolution
from automl_kd.models.features import Outputs
from automl_kd.tasks.precision import in_float32

Phi = Mapping[str, Tensor]
LossForm = Literal["weighted", "free"]

HIDDEN_WIDTH = 16
WEIGHT_MARGIN = 1e-6
"""Added to variances, so that equal logits have a derivative."""


@dataclass(frozen=True)
class LossLayout:
    """Which networks there are and what they see: phi fits one layout, whatever the number of classes.

    `form`: "weighted" multiplies the terms of KD by weights in (0, 2); "free" is any positive function. `label`: the
    networks see the true class. `logits`: there is a network for logits. `pairs`: how many for maps.
    """

    form: LossForm = "weighted"
    label: bool = True
    logits: bool = True
    pairs: int = 0

    def networks(self) -> dict[str, int]:
        """The networks by name, with their numbers of inputs."""
        first = {"logits": 4 + self.label} if self.logits else {}
        return first | {f"pair{place}": 4 for place in range(self.pairs)}


def subnetwork_parameters(phi: Phi, name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in phi.items() if key.startswith(f"{name}.")}


def perceptron(x: Float[Tensor, "*items inputs"], weights: Phi) -> Float[Tensor, "*items"]:
    hidden = torch.tanh(F.linear(x, weights["first.weight"], weights["first.bias"]))
    hidden = torch.tanh(F.linear(hidden, weights["second.weight"], weights["second.bias"]))
    return F.linear(hidden, weights["last.weight"], weights["last.bias"]).squeeze(-1)


def gate(x: Float[Tensor, "*items inputs"], weights: Phi) -> Float[Tensor, "*items"]:
    """A weight in (0, 2), 1 where the last layer is zero. The bound is what keeps the loss from becoming a rate."""
    return 2 * torch.sigmoid(perceptron(x, weights))


def standardised(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    def mean(values: Tensor) -> Tensor:
        found = values.mean(dims, keepdim=True)
        return distributed.differentiable_mean(found) if 0 in dims else found  # over a process group's whole batch

    centred = x - mean(x)
    return centred * torch.rsqrt(mean(centred.square()) + WEIGHT_MARGIN)


def class_inputs(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"] | None,
    temperature: float,
) -> Float[Tensor, "batch classes inputs"]:
    """What the network for logits sees of each class; without `labels`, one input less."""
    columns = [
        F.softmax(student / temperature, dim=1),
        F.softmax(teacher / temperature, dim=1),
        standardised(student, (1,)),
        standardised(teacher, (1,)),
    ]
    if labels is not None:
        columns.append(F.one_hot(labels, student.shape[1]).to(student.dtype))
    return torch.stack(columns, dim=-1)


def weighted_kd(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    weights: Float[Tensor, "batch classes"],
    temperature: float,
) -> Float[Tensor, ""]:
    """T^2 times the batch mean of sum_c w p_t (log p_t - log p_s): KD where all weights are 1."""
    log_p, log_q = (F.log_softmax(logits / temperature, dim=1) for logits in (student, teacher))
    return (weights * log_q.exp() * (log_q - log_p)).sum(1).mean() * temperature**2


@in_float32
def logit_loss(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"] | None,
    weights: Phi,
    form: LossForm,
    temperature: float,
) -> Float[Tensor, ""]:
    """The learned loss of logits; exactly KD at `temperature` > 0 for the weighted form with a last layer of zeros.

    A weight is a constant for the student, which else could lower its loss by moving to where weights are small.
    """
    if form == "weighted":
        inputs = class_inputs(student.detach(), teacher, labels, temperature)
        return weighted_kd(student, teacher, gate(inputs, weights), temperature)
    inputs = class_inputs(student, teacher, labels, temperature)
    return F.softplus(perceptron(inputs, weights)).sum(1).mean()


def map_inputs(
    student: Float[Tensor, "batch channels h1 w1"], teacher: Float[Tensor, "batch channels h2 w2"]
) -> Float[Tensor, "batch channels h w 4"]:
    """What a network for maps sees of each element, of both maps brought to the smaller one's size."""
    one, two = (standardised(x, (0, 2, 3)) for x in same_size(student, teacher))
    return torch.stack([one, two, (one - two).square(), one * two], dim=-1)


@in_float32
def map_loss(
    student: Float[Tensor, "batch channels h1 w1"], teacher: Float[Tensor, "batch channels h2 w2"], weights: Phi
) -> Float[Tensor, ""]:
    """The mean over all elements of weight times squared difference; a weight is a constant for the student."""
    inputs = map_inputs(student, teacher)
    return (gate(inputs.detach(), weights) * inputs[..., 2]).mean()


def rescaled(
    loss: Callable[[Tensor], Tensor],
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    temperature: float,
    *,
    learning: bool,
) -> Float[Tensor, ""]:
    """`loss(student)` times the factor that gives its gradient by the logits the length that KD's has.

    Then the networks choose a direction and cannot act as a learning rate. The factor is a constant for the student.
    `learning`: it is not one for phi, which an outer problem is to see.
    """
    at = student.detach().float() if student.dtype in {torch.float16, torch.bfloat16} else student.detach()
    at.requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(loss(at), at, create_graph=learning)
    with torch.no_grad():
        apart = F.softmax(at / temperature, dim=1) - F.softmax(teacher.to(at.dtype) / temperature, dim=1)
        wanted = distributed.joined_norm(torch.linalg.vector_norm(apart)) * temperature / len(at)
    length = distributed.joined_norm(torch.linalg.vector_norm(slope))
    factor: Tensor = wanted / length.clamp_min(torch.finfo(at.dtype).tiny)
    return loss(student) * factor


@dataclass(frozen=True)
class Weighing:
    """The weights of the learned parts and the labels. All weights >= 0; `temperature` > 0; `stages`: feature layers.

    `rescale`: the logits' part keeps the gradient length of KD.
    """

    layout: LossLayout
    temperature: float
    ce: float
    logits: float
    maps: float
    stages: str = ""
    rescale: bool = False
    label_smoothing: float = 0.0


class Learned(nn.Module):
    """The student's loss under given phi. Its parameters bring the student's maps to the teacher's width."""

    def __init__(self, weighing: Weighing, example: Example) -> None:
        super().__init__()
        self.weighing = weighing
        maps = example_maps("lkd", weighing.stages, example) if weighing.stages else []
        self.projections = beside(
            nn.ModuleList(convolution(one.shape[1], two.shape[1], 1) for one, two in maps), example
        )

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, phi: Phi) -> LossTerms:
        """The weighted terms ce, lkd and lkd_maps, as far as they count. Gradients reach the student and phi."""
        how = self.weighing
        smoothing = how.label_smoothing
        terms = {"ce": how.ce * cross_entropy(student.logits, labels, label_smoothing=smoothing)}
        if how.layout.logits:
            terms["lkd"] = how.logits * self.of_logits(student.logits, teacher.logits.detach(), labels, phi)
        if how.layout.pairs:
            pairs = enumerate(self.maps(student, teacher))
            terms["lkd_maps"] = how.maps * sum_of_terms(
                [map_loss(*two, subnetwork_parameters(phi, f"pair{i}")) for i, two in pairs]
            )
        return terms

    def of_logits(self, student: Tensor, teacher: Tensor, labels: Tensor, phi: Phi) -> Tensor:
        layout, temperature, weights = (
            self.weighing.layout,
            self.weighing.temperature,
            subnetwork_parameters(phi, "logits"),
        )
        known_labels = labels if layout.label else None

        def loss(logits: Tensor) -> Tensor:
            return logit_loss(logits, teacher, known_labels, weights, layout.form, temperature)

        if not self.weighing.rescale:
            return loss(student)
        learning = any(value.requires_grad for value in weights.values())
        return rescaled(loss, student, teacher, temperature, learning=learning)

    def maps(self, student: Outputs, teacher: Outputs) -> list[tuple[Tensor, Tensor]]:
        if not self.weighing.stages:
            return []
        pairs = both(self.weighing.stages, student, teacher)
        return [(project(one), two) for project, (one, two) in zip(self.projections, pairs, strict=True)]

    def departure(self, student: Outputs, teacher: Outputs, labels: Tensor, phi: Phi) -> Float[Tensor, ""]:
        """Mean of (w - 1)^2 over the weights of all networks that have some: how far phi is from where it began."""
        layout, gates = self.weighing.layout, []
        if layout.logits and layout.form == "weighted":
            known_labels = labels if layout.label else None
            inputs = class_inputs(student.logits, teacher.logits, known_labels, self.weighing.temperature)
            gates.append(gate(inputs, subnetwork_parameters(phi, "logits")))
        for place, (one, two) in enumerate(self.maps(student, teacher)):
            gates.append(gate(map_inputs(one, two), subnetwork_parameters(phi, f"pair{place}")))
        return sum_of_terms([(found - 1).square().mean() for found in gates]) / len(gates)
