"""The step of a search: its derivative against double backward, what it leaves alone, and where it drives weights."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from automl_kd.bilevel.backbone_jvp import Pathways
from automl_kd.bilevel.base import Problem, Tensors, detach_tensors, select_prefix
from automl_kd.bilevel.pure import LOGITS_KEY, GeneratorStates, outputs_of
from automl_kd.bilevel.real_optimizer import step_of
from automl_kd.bilevel.unroll import Unroll
from automl_kd.data import Batch
from automl_kd.losses.base import Example
from automl_kd.methods.distpro.pathways import PathwayLosses, list_pathways, needed_features, seen
from automl_kd.methods.distpro.step import CONNECTOR, Moments, SearchStep, Weighting, betas_for
from automl_kd.models import build_model
from automl_kd.models.features import FeatureExtractor
from automl_kd.spec import Recipe
from automl_kd.teacher_cache.cached_teacher import LiveTeacher
from automl_kd.training.training_run import TrainingRun
from tests import tiny

STAGES = "stem+stage1.pre+stage2.pre+stage3.pre+pooled+logits"
SGD = Recipe(lr=0.1, weight_decay=5e-3, epochs=8)
STYLES = {
    "nesterov": SGD,
    "momentum": replace(SGD, nesterov=False),
    "plain": replace(SGD, nesterov=False, momentum=0.0),
    "clipped": replace(SGD, clip_norm=0.3),
    "adamw": replace(SGD, optimizer="adamw", lr=0.01),
    "adamw, clipped": replace(SGD, optimizer="adamw", lr=0.01, clip_norm=0.3),
}


def network(seed: int, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(seed)
    return build_model("resnet8", tiny.SHAPE).to(dtype)


def batch(size: int, seed: int, dtype: torch.dtype) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 1, 8, 8, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.randint(3, (size,), generator=generator)
    return Batch(images, labels, torch.arange(size), epoch=1)


@dataclass(frozen=True, eq=False)
class Case:
    run: TrainingRun
    step: SearchStep
    teacher: nn.Module

    @property
    def weighting(self) -> Weighting:
        return self.step.weighting

    def take(self, number: int, dtype: torch.dtype = torch.float64) -> Tensor:
        return self.step(self.run, batch(8, 100 + number, dtype), number)


def case(
    recipe: Recipe = SGD,
    *,
    stages: str = STAGES,
    connect: str = "lower",
    transforms: str = "plain",
    order: str = "lagged",
    interval: int = 1,
    lr: float = 0.1,
    dtype: torch.dtype = torch.float64,
    guide: Callable[[FeatureExtractor], FeatureExtractor] = lambda tapped: tapped,
) -> Case:
    student, teacher = network(0, dtype), network(1, dtype).eval().requires_grad_(False)
    pathways = list_pathways(stages, connect, transforms)
    features = needed_features(pathways)
    one, two = FeatureExtractor(student, features.student), guide(FeatureExtractor(teacher, features.teacher))
    look = batch(4, 7, dtype)
    with torch.no_grad():
        student.eval()
        example = Example(one(look.inputs), two(look.inputs), look.labels, look.index, 3, 8, 1)
    torch.manual_seed(2)
    losses = PathwayLosses(pathways, example)
    weighting = Weighting(losses, torch.empty(0, dtype=dtype), style="scaled", kd=0.3, lr=lr, steps=6, record=1)
    run = TrainingRun(student.train(), tiny.dataset(), recipe, seed=0, loss_modules=weighting)
    step = SearchStep(
        weighting=weighting,
        student=one,
        ask_teacher=LiveTeacher(two),
        outer=lambda number: batch(8, 200 + number, dtype),
        order=order,
        interval=interval,
    )
    return Case(run, step, teacher)


def heard(made: Case, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The hypergradients to come; alpha still moves."""
    found: list[Tensor] = []
    turn = made.weighting.turn

    def listen(h: Tensor) -> None:
        found.append(h)
        turn(h)

    monkeypatch.setattr(made.weighting, "turn", listen)
    return found


def by_double_backward(made: Case, seen_batch: Batch, held_out: Batch) -> Tensor:
    """The gradient by the weights, with student and connectors unrolled together, on copies."""
    student, losses = deepcopy(made.step.student.model), deepcopy(made.weighting.losses)
    tapped = FeatureExtractor(student, made.step.student.names)
    view = outputs_of(tapped, seen_batch.inputs, GeneratorStates.now(torch.device("cpu")))
    validate = outputs_of(FeatureExtractor(student), held_out.inputs)
    taught = seen(made.step.ask_teacher(seen_batch))

    def split(weights: Tensors) -> dict[str, Tensor]:
        return {name: value for name, value in weights.items() if not name.startswith(CONNECTOR)}

    def loss(place: int) -> Callable[[Tensors], Tensor]:
        return lambda given: functional_call(losses, select_prefix(given, CONNECTOR), (place, given, taught))

    problem = Problem(
        loss=Pathways(
            base=lambda given: F.cross_entropy(given[LOGITS_KEY], seen_batch.labels),
            losses=[loss(place) for place in range(len(losses.pathways))],
            strengths=lambda hypers: hypers["w"],
        ),
        outer=lambda at, _: F.cross_entropy(validate(split(at))[LOGITS_KEY], held_out.labels),
        step=step_of(made.run.optimizer, made.step.trained, made.run.recipe.clip_norm),
        outputs=lambda at: {**at, **view(split(at))},
    )
    return Unroll()(problem, detach_tensors(made.step.trained), {"w": made.weighting.strengths()})["w"]


@pytest.mark.parametrize("order", ["lagged", pytest.param("sequential", marks=pytest.mark.slow)])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("transforms", ["plain", "shared"])
def test_hypergradient_equals_double_backward(monkeypatch, style, order, transforms):
    several = style == "nesterov"
    stages, transforms = ("stage2.pre+stage3.pre+logits", f"{transforms}+2conv") if several else (STAGES, transforms)
    made = case(STYLES[style], order=order, stages=stages, transforms=transforms, connect="all" if several else "lower")
    made.take(0)  # fills the optimiser's memory and moves alpha
    made.run.set_rate(1)
    wanted = by_double_backward(made, batch(8, 101, torch.float64), batch(8, 201, torch.float64))
    found = heard(made, monkeypatch)
    made.take(1)
    (h,) = found
    assert h.abs().min() > 0
    assert ((h - wanted).norm() / wanted.norm()).item() < 1e-10


def test_a_part_of_the_batch_gives_the_hypergradient_of_all_where_its_images_are_repeated(monkeypatch):
    """With every image twice, one after the other, half of a batch has all statistics and gradients of the whole."""
    found = []
    for share in (1.0, 0.5):
        made = case(transforms="shared+plain")
        once = batch(8, 100, torch.float64)
        images, labels = once.inputs.repeat_interleave(2, 0), once.labels.repeat_interleave(2, 0)
        twice = replace(once, inputs=images, labels=labels, index=torch.arange(16))
        taken = heard(made, monkeypatch)
        replace(made.step, share=share)(made.run, twice, 0)
        found += taken
    whole, half = found
    torch.testing.assert_close(half, whole, rtol=1e-9, atol=0)
    assert whole.abs().min() > 0


@pytest.mark.parametrize("order", ["lagged", "sequential"])
@pytest.mark.parametrize("clip_norm", [0.0, 0.3])
def test_with_frozen_weights_a_step_is_a_plain_distillation_step(order, clip_norm):
    recipe = replace(SGD, clip_norm=clip_norm)
    searched, plain = (case(recipe, order=order, lr=0.0, dtype=torch.float32) for _ in range(2))
    weights = plain.weighting.strengths()
    losses = plain.weighting.losses
    before = deepcopy(searched.teacher.state_dict())

    def objective(given: Batch) -> dict[str, Tensor]:
        outputs, taught = seen(plain.step.student(given.inputs)), seen(plain.step.ask_teacher(given))
        terms = torch.stack([losses(place, outputs, taught) for place in range(len(weights))])
        return {"all": F.cross_entropy(outputs[LOGITS_KEY], given.labels) + (weights * terms).sum()}

    for number in range(3):
        loss = searched.take(number, torch.float32)
        wanted = plain.run.train_step(objective, batch(8, 100 + number, torch.float32), number)
        assert torch.equal(loss, wanted)
    same(searched.run.student.state_dict(), plain.run.student.state_dict())
    same(searched.weighting.losses.state_dict(), losses.state_dict())
    same(before, searched.teacher.state_dict())


def same(one: Tensors, two: Tensors) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


def test_sequential_order_trains_with_the_new_weights_and_lagged_with_the_old():
    old, new = case(order="lagged"), case(order="sequential")
    first, second = old.take(0), new.take(0)
    # Both orders look through the same step at first, so alpha agrees; the losses differ by what it weighs.
    torch.testing.assert_close(old.weighting.alpha, new.weighting.alpha, rtol=1e-9, atol=0)
    assert first != second


def test_hypergradients_are_taken_at_the_interval_and_recorded():
    made = case(interval=3)
    alphas = []
    for number in range(6):
        made.take(number)
        alphas.append(made.weighting.alpha.clone())
    moved = [not torch.equal(one, two) for one, two in zip([torch.ones_like(alphas[0]), *alphas], alphas, strict=False)]
    assert moved == [True, False, False, True, False, False]
    assert made.weighting.moments == [0, 1, 2, 3, 4, 5]
    assert made.weighting.complete
    assert torch.equal(made.weighting.rows[-1], made.weighting.alpha)


def test_a_step_leaves_the_random_state_as_plain_training_does():
    states = []
    for interval in (1, 6):
        made = case(interval=interval)
        torch.manual_seed(4)
        made.take(0)
        made.take(1)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_clipping_weights_of_zero_are_asked_nothing():
    made = case()
    made.weighting.style = "absolute"
    made.weighting.alpha[0] = 0.0
    made.take(0)
    assert made.weighting.alpha[0] == 0
    assert made.weighting.alpha.isfinite().all()


def test_slopes_are_per_rate_where_asked_for():
    plain, per_rate = case(), case()
    object.__setattr__(per_rate.step, "per_rate", True)
    for one in (plain, per_rate):
        one.take(0)
    reach = plain.run.optimizer.param_groups[0]["lr"] * 1.9  # Nesterov's momentum of 0.9
    torch.testing.assert_close(plain.weighting.slopes.total / reach, per_rate.weighting.slopes.total)


def test_means_and_errors_are_those_of_all_vectors_that_came():
    values = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = Moments(torch.zeros(3, dtype=torch.float64))
    for one in values:
        found.add(one)
    mean, error = found.mean_and_error()
    assert mean == pytest.approx(values.mean(0).tolist())
    assert error == pytest.approx((values.std(0) / 7**0.5).tolist())
    again = Moments(torch.zeros(3, dtype=torch.float64))
    again.restore(found.state())
    assert again.mean_and_error() == found.mean_and_error()


def test_the_memory_of_alphas_optimizer_fits_the_search():
    assert betas_for(76)[1] == pytest.approx(1 - 1 / 8.6)
    assert betas_for(100_000) == (0.5, 0.999)  # as published
