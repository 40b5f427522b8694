"""Bilevel problems small enough for closed forms or double backward, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.bilevel.backbone_jvp import Pathways
from automl_kd.bilevel.base import Problem, Tensors, detach_tensors
from automl_kd.bilevel.inner_step import SGD, Adam, InnerStep, Rule
from automl_kd.bilevel.pure import LOGITS_KEY, GeneratorStates, outputs_of, trainable_parameters
from automl_kd.models import build_model
from automl_kd.models.features import FeatureExtractor, FeatureLayer
from tests.tiny import SHAPE, Net

RULES: Mapping[str, Rule] = {
    "sgd": SGD(lr=0.1),
    "momentum": SGD(lr=0.1, momentum=0.9, dampening=0.3, weight_decay=5e-3),
    "nesterov": SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-3),
    "adam": Adam(lr=0.01, weight_decay=5e-3),
    "adamw": Adam(lr=0.01, weight_decay=5e-2, decoupled=True),
}
TAPS = ("stage1.pre", "stage2", "stage3.pre", "pooled")


def resnet(dtype: torch.dtype = torch.float64) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return build_model("resnet8", SHAPE).to(dtype).train()


def dropout_net() -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Net(SHAPE, 4).double().train()


class AttentionNet(nn.Module):
    """Eight rows as tokens, which attend to each other by a kernel that has neither kind of second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.classifier = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, SHAPE.classes)
        self.feature_layers = {"pooled": FeatureLayer("classifier", "input")}

    def forward(self, images: Tensor) -> Tensor:
        rows = images.squeeze(1)
        out: Tensor = self.classifier(self.attention(rows, rows, rows, need_weights=False)[0].mean(1))
        return out


def attention_net() -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return AttentionNet().double().train()


def batch(size: int, seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 1, 8, 8, generator=generator, dtype=torch.float64)
    return images.to(dtype), torch.randint(3, (size,), generator=generator)


def noise(like: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like.dtype)


def feature_loss(name: str, wanted: Tensor) -> Callable[[Tensors], Tensor]:
    """A connector of one random layer (with batch statistics, where there are maps), and a distance."""
    mix = noise(torch.empty(wanted.shape[1], wanted.shape[1], dtype=wanted.dtype), len(name))

    def loss(outputs: Tensors) -> Tensor:
        joined = torch.einsum("nc...,cd->nd...", outputs[name], mix)
        return F.mse_loss(F.batch_norm(joined, None, None, training=True), wanted)

    return loss


@dataclass(frozen=True, eq=False)
class Case:
    problem: Problem
    weights: dict[str, Tensor]
    hypers: dict[str, Tensor]


def pathways(outputs: Tensors, labels: Tensor) -> Pathways:
    """Cross entropy, and for each output a distance to noise; the weights are a softmax of "alpha" with a bias."""
    losses = [feature_loss(name, noise(value, seed)) for seed, (name, value) in enumerate(outputs.items())]
    return Pathways(
        base=lambda seen: F.cross_entropy(seen[LOGITS_KEY], labels),
        losses=losses,
        strengths=lambda hypers: F.softmax(torch.cat([hypers["alpha"], hypers["alpha"].new_ones(1)]), dim=0)[:-1],
    )


def case(
    rule: Rule,
    network: nn.Module,
    taps: tuple[str, ...] = TAPS,
    *,
    size: int = 6,
    seed: int = 0,
    clip_norm: float = 0.0,
) -> Case:
    """Pathways on the taps of a network in training mode; the optimiser has taken two steps on noise before."""
    weights: dict[str, Tensor] = detach_tensors(trainable_parameters(network))
    dtype = next(iter(weights.values())).dtype
    (images, labels), (held_out, truth) = batch(size, seed, dtype), batch(size, seed + 1, dtype)
    train = outputs_of(FeatureExtractor(network, taps), images, GeneratorStates.now(images.device))
    validate = outputs_of(FeatureExtractor(network), held_out)
    step = InnerStep.same(rule, weights, clip_norm)
    for earlier in range(2):
        _, step = step.take(weights, {name: 0.1 * noise(value, earlier) for name, value in weights.items()})
    seen = detach_tensors(train(weights))
    problem = Problem(
        loss=pathways(seen, labels),
        outer=lambda at, _: F.cross_entropy(validate(at)[LOGITS_KEY], truth),
        step=step,
        outputs=train,
    )
    return Case(problem, weights, {"alpha": torch.linspace(0.5, 1.5, len(seen), dtype=dtype)})


@dataclass(frozen=True, eq=False)
class Ridge:
    """Ridge regression: inner = |Xw - y|^2 / 2 + exp(log_penalty) |w|^2 / 2, outer = |Zw - t|^2 / 2."""

    X: Tensor
    y: Tensor
    Z: Tensor
    t: Tensor
    log_penalty: Tensor

    @staticmethod
    def example() -> Ridge:
        generator = torch.Generator().manual_seed(3)
        X, y, Z, t = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((9, 4), (9,)) * 2)
        return Ridge(X / 3, y, Z / 3, t, torch.tensor(-0.7, dtype=torch.float64))

    @property
    def hessian(self) -> Tensor:
        return self.X.T @ self.X + self.log_penalty.exp() * torch.eye(4, dtype=torch.float64)

    @property
    def minimum(self) -> Tensor:
        return solve(self.hessian, self.X.T @ self.y)

    def v(self, w: Tensor) -> Tensor:
        return self.Z.T @ (self.Z @ w - self.t)

    def after_a_step(self, w: Tensor, rate: float) -> Tensor:
        return w - rate * (self.hessian @ w - self.X.T @ self.y)

    def one_step(self, w: Tensor, rate: float) -> Tensor:
        """Closed form: w' = w - rate (H w - X'y), so d outer(w') / d log_penalty = -rate penalty w . v(w')."""
        return -rate * self.log_penalty.exp() * w @ self.v(self.after_a_step(w, rate))

    def at_the_minimum(self) -> Tensor:
        """Closed form: w* = H^-1 X'y, so d outer(w*) / d log_penalty = -penalty (H^-1 w*) . v(w*)."""
        w = self.minimum
        return -self.log_penalty.exp() * solve(self.hessian, w) @ self.v(w)

    def case(self, w: Tensor, rate: float) -> Case:
        """The problem without a network: what the loss looks at are the weights themselves."""
        loss = Pathways(
            base=lambda seen: (self.X @ seen["w"] - self.y).square().sum() / 2,
            losses=[lambda seen: seen["w"].square().sum() / 2],
            strengths=lambda hypers: hypers["log_penalty"].exp().reshape(1),
        )

        def outer(at: Tensors, hypers: Tensors) -> Tensor:
            return (self.Z @ at["w"] - self.t).square().sum() / 2

        weights = {"w": w}
        problem = Problem(loss=loss, outer=outer, step=InnerStep.same(SGD(lr=rate), weights))
        return Case(problem, weights, {"log_penalty": self.log_penalty})


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    solution: Tensor = torch.linalg.solve(matrix, right)
    return solution


def relative_error(found: Tensors, wanted: Tensors) -> float:
    assert set(found) == set(wanted)
    errors = [float((found[name] - wanted[name]).norm() / wanted[name].norm()) for name in wanted]
    return max(errors)
