from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd.bilevel.base import Problem, Tensors, detach_tensors
from automl_kd.bilevel.inner_step import SGD, InnerStep
from automl_kd.bilevel.pure import LOGITS_KEY, outputs_of, trainable_parameters
from automl_kd.bilevel.real_optimizer import step_of
from automl_kd.bilevel.unroll import Unroll, unrolled
from automl_kd.models.features import FeatureExtractor
from automl_kd.tasks.soft_targets import kd_loss
from tests.bilevel.problems import RULES, TAPS, Ridge, batch, case, noise, relative_error, resnet

OPTIMISERS = {
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
}


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_one_weight_by_hand():
    # inner = h w^2 / 2, outer = w: w' = w - eta h w, so d w' / d h = -eta w = -0.1 * 3.
    step = InnerStep.same(SGD(lr=0.1), {"w": scalar(3)})
    problem = Problem(loss=lambda at, h: h["h"] * at["w"] ** 2 / 2, outer=lambda at, h: at["w"], step=step)
    assert Unroll()(problem, {"w": scalar(3)}, {"h": scalar(2)})["h"] == pytest.approx(-0.3)
    # Twice: w'' = w (1 - eta h)^2, so d w'' / d h = -2 eta w (1 - eta h) = -0.6 * 0.8.
    assert Unroll(steps=2)(problem, {"w": scalar(3)}, {"h": scalar(2)})["h"] == pytest.approx(-0.48)


def kd(network, images: Tensor, labels: Tensor, taught: Tensor, hypers: Tensors) -> Tensor:
    logits = network(images)
    return F.cross_entropy(logits, labels) + hypers["weight"] * kd_loss(logits, taught, hypers["temperature"])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_numerical_differentiation_of_real_training_steps(name: str):
    """Nothing of ours on the other side: torch's optimiser, in-place steps, live batch normalisation."""
    images, labels = batch(6, 0)
    held_out, truth = batch(6, 1)
    network = resnet()
    taught = noise(torch.empty(6, 3, dtype=torch.float64), 5)
    hypers = {"weight": scalar(0.7), "temperature": scalar(2.0)}
    optimizer = OPTIMISERS[name](network.parameters())
    for _ in range(2):  # something to remember
        optimizer.zero_grad()
        kd(network, images, labels, taught, hypers).backward()
        optimizer.step()

    def train_and_validate(given: Tensors) -> float:
        copied, state = copy.deepcopy(network), copy.deepcopy(optimizer.state_dict())
        copy_of = OPTIMISERS[name](copied.parameters())
        copy_of.load_state_dict(state)
        for _ in range(2):
            copy_of.zero_grad()
            kd(copied, images, labels, taught, given).backward()
            copy_of.step()
        return F.cross_entropy(copied(held_out), truth).item()

    train, validate = (outputs_of(FeatureExtractor(network), seen) for seen in (images, held_out))
    problem = Problem(
        loss=lambda seen, h: kd(lambda _: seen[LOGITS_KEY], images, labels, taught, h),
        outer=lambda weights, _: F.cross_entropy(validate(weights)[LOGITS_KEY], truth),
        step=step_of(optimizer, trainable_parameters(network)),
        outputs=train,
    )
    found = Unroll(steps=2)(problem, detach_tensors(trainable_parameters(network)), hypers)
    for key, value in hypers.items():
        ahead, behind = (train_and_validate({**hypers, key: value + sign * 1e-7}) for sign in (1, -1))
        assert float(found[key]) == pytest.approx((ahead - behind) / 2e-7, rel=1e-6)


def test_many_steps_on_ridge_regression_tend_to_the_implicit_answer():
    ridge = Ridge.example()
    given = ridge.case(ridge.minimum, 0.5)
    found = Unroll(steps=300)(given.problem, given.weights, given.hypers)
    assert relative_error(found, {"log_penalty": ridge.at_the_minimum()}) < 1e-10


def test_steps_on_different_batches():
    # Two steps on ridge problems with targets y and 2y, by hand: w'' = w' - rate (H w' - 2 X'y).
    ridge, w = Ridge.example(), torch.linspace(-1, 2, 4, dtype=torch.float64)
    other = replace(ridge, y=2 * ridge.y)
    given, later = ridge.case(w, 0.3), other.case(w, 0.3)
    found = unrolled([given.problem, later.problem], w_of(given), given.hypers)
    middle = ridge.after_a_step(w, 0.3)
    end = other.after_a_step(middle, 0.3)
    penalty = ridge.log_penalty.exp()
    moved = -0.3 * penalty * w
    moved = moved - 0.3 * (ridge.hessian @ moved + penalty * middle)
    assert relative_error(found, {"log_penalty": moved @ ridge.v(end)}) < 1e-12


def w_of(given) -> dict[str, Tensor]:
    return dict(given.weights)


def test_the_second_step_carries_the_momentum_of_the_first():
    # inner = h w, so g = h; two steps of momentum 1/2, rate 1: w'' = w - h - (h / 2 + h), d outer / d h = -2.5.
    step = InnerStep.same(SGD(lr=1.0, momentum=0.5), {"w": scalar(0)})
    problem = Problem(loss=lambda at, h: h["h"] * at["w"], outer=lambda at, h: at["w"], step=step)
    assert Unroll(steps=2)(problem, {"w": scalar(1)}, {"h": scalar(3)})["h"] == pytest.approx(-2.5)


def test_a_longer_horizon_is_another_answer():
    given = case(RULES["nesterov"], resnet(), TAPS)
    one, three = (Unroll(steps)(given.problem, given.weights, given.hypers)["alpha"] for steps in (1, 3))
    assert (one - three).norm() > 0.1 * one.norm()


def test_steps_must_be_positive():
    with pytest.raises(ValueError, match="steps must be 1 or more, got 0"):
        Unroll(steps=0)
