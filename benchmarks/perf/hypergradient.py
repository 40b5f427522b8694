"""What a distillation step with a hypergradient costs over one without, for each way of computing it.

Student ResNet-20, teacher ResNet-56, 32x32 images, ten pathways between the four maps before each stage's last
activation (student feature layer at least as deep as the teacher's), each with three convolutions and the hierarchical
context loss: the setting of DistPro (Deng et al. 2022, arXiv:2204.05547). Every variant trains networks of its own on
the same batches, in turn, on one thread; ratios are of process time within a round. Before timing, all variants answer
once from the same weights in float64 and are compared with double backward. Run it from the project's root: `python -m
benchmarks.perf.hypergradient`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.bilevel.backbone_jvp import BackboneJVP, Captured, Pathways, pathway_gradient
from automl_kd.bilevel.base import HyperGradient, Problem, Tensors, copies, detach_tensors, gradient, leaves, pullback
from automl_kd.bilevel.finite_difference import FiniteDifference
from automl_kd.bilevel.output_backward import OutputBackward
from automl_kd.bilevel.pure import LOGITS_KEY, outputs_of, trainable_parameters
from automl_kd.bilevel.real_optimizer import step_of
from automl_kd.bilevel.tangents import OneSidedDifference, Tangents, forward_mode
from automl_kd.bilevel.unroll import Unroll
from automl_kd.losses.features.hcl import hcl
from automl_kd.models import build_model
from automl_kd.models.features import FeatureExtractor
from automl_kd.space import InputShape
from benchmarks.perf.alternation import Comparison, alternate, markdown, milliseconds

SHAPE = InputShape(channels=3, height=32, width=32, classes=100)
TAPS = ("stem", "stage1.pre", "stage2.pre", "stage3.pre")
WIDTHS, SIDES = (16, 16, 32, 64), (32, 32, 16, 8)
PAIRS = [(teacher, student) for teacher in range(4) for student in range(teacher, 4)]
TOLERANCE = 1e-10


class Connector(nn.Module):
    """3x3 convolution, 1x1 attention, 3x3, resize to the teacher's map, 3x3; normalised, without running statistics."""

    def __init__(self, teacher: int, student: int) -> None:
        super().__init__()
        narrow = min(WIDTHS[teacher], WIDTHS[student])
        self.side = SIDES[teacher]
        self.first = nn.Sequential(convolution(WIDTHS[student], narrow), nn.ReLU())
        self.attention = nn.Conv2d(narrow, 1, 1, bias=False)
        self.second = nn.Sequential(convolution(narrow, narrow), nn.ReLU())
        self.last = convolution(narrow, WIDTHS[teacher])

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = self.second(x * self.attention(x))
        out: Tensor = self.last(F.interpolate(x, size=self.side))
        return out


def convolution(inputs: int, outputs: int) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs, track_running_stats=False))


class Training:
    """One student in training with its teacher, connectors and optimizer; `alpha` weights the pathways."""

    def __init__(self, size: int, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        self.student = build_model("resnet20", SHAPE).to(dtype).train()
        self.teacher = build_model("resnet56", SHAPE).to(dtype).eval().requires_grad_(False)
        self.connectors = nn.ModuleList(Connector(*pair) for pair in PAIRS).to(dtype)
        groups = [*self.student.parameters(), *self.connectors.parameters()]
        self.optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
        self.seen, self.taught = FeatureExtractor(self.student, TAPS), FeatureExtractor(self.teacher, TAPS)
        self.images, self.held_out = torch.randn(2, size, 3, 32, 32).to(dtype)
        self.labels, self.truth = torch.randint(SHAPE.classes, (2, size))
        self.alpha = torch.ones(len(PAIRS), dtype=dtype)

    def loss(self) -> Pathways:
        with torch.no_grad():
            wanted = self.taught(self.images).features

        def pathway(connector: nn.Module, teacher: str, student: str) -> Callable[[Tensors], Tensor]:
            return lambda outputs: hcl(connector(outputs[student]), wanted[teacher])

        losses = [pathway(c, TAPS[t], TAPS[s]) for c, (t, s) in zip(self.connectors, PAIRS, strict=True)]
        return Pathways(lambda seen: F.cross_entropy(seen[LOGITS_KEY], self.labels), losses, strengths)

    def outer(self, weights: Tensors, _: Tensors) -> Tensor:
        logits = outputs_of(FeatureExtractor(self.student), self.held_out)(weights)[LOGITS_KEY]
        return F.cross_entropy(logits, self.truth)

    def step(self, captured: Captured) -> None:
        """An ordinary training step; its backward pass fills `captured`."""
        seen = self.seen(self.images)
        loss = self.loss().weighted(
            {LOGITS_KEY: seen.logits, **seen.features}, strengths({"alpha": self.alpha}), captured
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self.optimizer.step()

    def problem(self) -> Problem:
        outputs = outputs_of(self.seen, self.images)
        step = step_of(self.optimizer, trainable_parameters(self.student))
        return Problem(loss=self.loss(), outer=self.outer, step=step, outputs=outputs)


def strengths(hypers: Tensors) -> Tensor:
    return F.softmax(torch.cat([hypers["alpha"], hypers["alpha"].new_ones(1)]), dim=0)[:-1]


def plain(training: Training) -> Tensor:
    training.step(Captured())
    return training.alpha


def lagged(tangents: Tangents) -> Callable[[Training], Tensor]:
    """The real step is the one looked through: validation gradient and tangents are all that is added."""

    def with_hypergradient(training: Training) -> Tensor:
        weights, captured, hyperparameters = (
            trainable_parameters(training.student),
            Captured(),
            leaves({"alpha": training.alpha}),
        )
        step, before = step_of(training.optimizer, weights), copies(weights)
        train = outputs_of(training.seen, training.images)
        training.step(captured)
        gradients = {name: value.grad for name, value in weights.items() if value.grad is not None}
        now = leaves(weights)
        u = step.direction(before, gradients, gradient(training.outer(now, {}), now))
        w = strengths(hyperparameters)
        h = pathway_gradient(captured, tangents(train, before, u)[1], w.detach())
        return pullback({"w": w}, hyperparameters, {"w": h})["alpha"]

    return with_hypergradient


def ahead(member: HyperGradient) -> Callable[[Training], Tensor]:
    """A virtual step by `member`, then the real one."""

    def with_hypergradient(training: Training) -> Tensor:
        h = member(
            training.problem(), detach_tensors(trainable_parameters(training.student)), {"alpha": training.alpha}
        )
        training.step(Captured())
        return h["alpha"]

    return with_hypergradient


PLAIN = "plain step"
VARIANTS: Mapping[str, Callable[[Training], Tensor]] = {
    PLAIN: plain,
    "backbone JVP, lagged": lagged(forward_mode),
    "one-sided feature layers, lagged": lagged(OneSidedDifference(1e-2)),
    "backbone JVP, virtual step": ahead(BackboneJVP()),
    "output backward, virtual step": ahead(OutputBackward()),
    "central difference, virtual step": ahead(FiniteDifference("central", 1e-2)),
    "double backward": ahead(Unroll()),
}
EXACT = ("backbone JVP, lagged", "backbone JVP, virtual step", "output backward, virtual step")


def check() -> None:
    """All exact variants against double backward from the same weights, with a filled momentum buffer."""
    answers = {}
    for name in (*EXACT, "double backward"):
        training = Training(4, torch.float64)
        plain(training)
        answers[name] = VARIANTS[name](training)
    wanted = answers["double backward"]
    for name in EXACT:
        error = float((answers[name] - wanted).norm() / wanted.norm())
        print(f"{name}: relative error {error:.1e} against double backward, float64")
        assert error < TOLERANCE, f"{name} differs from double backward by more than {TOLERANCE}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=16, help="images in a step (default: 16)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all variants (default: 7)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    check()
    trainings = {name: Training(arguments.batch, torch.float32) for name in VARIANTS}
    turns = {name: partial(step_of_variant, variant, trainings[name]) for name, variant in VARIANTS.items()}
    spent = alternate(turns, rounds=arguments.rounds)
    print(f"process time over that of a plain step in the same round, batch {arguments.batch}:")
    print(markdown(spent, [Comparison(name, PLAIN) for name in VARIANTS if name != PLAIN]))
    print(milliseconds(spent))


def step_of_variant(variant: Callable[[Training], Tensor], training: Training, _number: int) -> Tensor:
    return variant(training)


if __name__ == "__main__":
    main()
