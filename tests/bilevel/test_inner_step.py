from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from automl_kd.bilevel.base import inner_product, move_along
from automl_kd.bilevel.inner_step import SGD, Adam, InnerStep
from automl_kd.bilevel.real_optimizer import step_of
from automl_kd.errors import ConfigError

OPTIMISERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "integer options": lambda p: torch.optim.SGD(p, lr=1, momentum=0.5, weight_decay=1),
    "decay": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.02),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.02),
    "dampening": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.4),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.02),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adam, decay": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.5, 0.99), weight_decay=0.3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.3),
    "rate as tensor": lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.01, dtype=torch.float64)),
    "one at a time": lambda p: torch.optim.Adam(p, lr=0.01, foreach=False),
}
V = {"a": torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), "b": torch.tensor([[3.0]], dtype=torch.float64)}


def parameters() -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
        for name, shape in (("a", (3,)), ("b", (1, 1)))
    }


def slopes(step: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(step + 1)
    return {name: torch.randn(value.shape, generator=generator, dtype=torch.float64) for name, value in V.items()}


@pytest.mark.parametrize("clip_norm", [0.0, 0.7, 100.0])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_are_those_of_torch(name: str, clip_norm: float):
    # Four steps read from the optimiser one by one, and the same four carried on from the first.
    weights = parameters()
    optimizer = OPTIMISERS[name](list(weights.values()))
    carried, chain = (
        {key: value.detach().clone() for key, value in weights.items()},
        step_of(optimizer, weights, clip_norm),
    )
    for number in range(4):
        step = step_of(optimizer, weights, clip_norm)
        expected, _ = step.take({key: value.detach().clone() for key, value in weights.items()}, slopes(number))
        carried, chain = chain.take(carried, slopes(number))
        for key, slope in slopes(number).items():
            weights[key].grad = slope
        if clip_norm:
            nn.utils.clip_grad_norm_(weights.values(), clip_norm)
        optimizer.step()
        for key, value in weights.items():
            torch.testing.assert_close(expected[key], value.detach(), rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(carried[key], value.detach(), rtol=1e-12, atol=1e-14)


def test_groups_may_differ_and_a_weight_without_gradient_stays():
    weights = parameters()
    groups = [{"params": [weights["a"]], "lr": 0.5}, {"params": [weights["b"]], "weight_decay": 0.1}]
    optimizer = torch.optim.SGD(groups, lr=0.25)
    after, _ = step_of(optimizer, weights).take(weights, {"a": slopes(0)["a"]})
    weights["a"].grad = slopes(0)["a"]
    optimizer.step()
    torch.testing.assert_close(after["a"], weights["a"])
    assert torch.equal(after["b"], parameters()["b"])


def test_what_was_read_stays_when_the_optimiser_goes_on():
    weights = parameters()
    optimizer = torch.optim.Adam(list(weights.values()))
    held = step_of(optimizer, weights)
    for _ in range(2):
        for key, slope in slopes(0).items():
            weights[key].grad = slope
        held, before = step_of(optimizer, weights), held
        optimizer.step()
    assert not before.memories["a"]
    assert held.memories["a"]["step"] == 1
    optimizer.step()
    assert held.memories["a"]["step"] == 1


@pytest.mark.parametrize(
    ("rule", "factor"),
    [
        (SGD(lr=0.1, weight_decay=0.3), 0.1),  # eta
        (SGD(lr=0.1, momentum=0.9), 0.1),  # eta, whatever is in the buffer
        (SGD(lr=0.1, momentum=0.9, dampening=0.4), 0.06),  # eta (1 - tau)
        (SGD(lr=0.1, momentum=0.9, nesterov=True), 0.19),  # eta (1 + mu)
    ],
)
def test_the_direction_of_sgd_is_a_multiple_of_v(rule: SGD, factor: float):
    weights = {key: value.detach() for key, value in parameters().items()}
    _, step = InnerStep.same(rule, weights).take(weights, slopes(0))
    for key, u in step.direction(weights, slopes(1), V).items():
        torch.testing.assert_close(u, factor * V[key])


@pytest.mark.parametrize("decoupled", [False, True])
def test_the_direction_of_adam_by_its_formula(decoupled: bool):
    rule = Adam(lr=0.1, betas=(0.8, 0.9), weight_decay=0.2, decoupled=decoupled)
    weights = {key: value.detach() for key, value in parameters().items()}
    _, step = InnerStep.same(rule, weights).take(weights, slopes(0))
    u = step.direction(weights, slopes(1), V)["a"]
    decay = 0.0 if decoupled else 0.2
    first, second = (slopes(i)["a"] + decay * weights["a"] for i in (0, 1))
    mean = (0.8 * 0.2 * first + 0.2 * second) / (1 - 0.8**2)
    root = ((0.9 * 0.1 * first**2 + 0.1 * second**2) / (1 - 0.9**2)).sqrt()
    a, b = 0.2 / (1 - 0.8**2), 0.1 / (1 - 0.9**2)
    slope = 0.1 * (a / (root + 1e-8) - mean * b * second / (root * (root + 1e-8) ** 2))
    torch.testing.assert_close(u, slope * V["a"], rtol=1e-12, atol=0)


def test_active_clipping_projects_the_direction():
    # Gradient (3, 0), (4): norm 5, scaled to 1 by 1/5; v along the gradient is projected away (but for 1e-6 / 5).
    weights = {"a": torch.zeros(2, dtype=torch.float64), "b": torch.zeros(1, dtype=torch.float64)}
    gradients = {"a": torch.tensor([3.0, 0.0], dtype=torch.float64), "b": torch.tensor([4.0], dtype=torch.float64)}
    step = InnerStep.same(SGD(lr=1.0), weights, clip_norm=1.0)
    along = step.direction(weights, gradients, gradients)
    assert max(float(value.abs().max()) for value in along.values()) < 1e-6
    across = {"a": torch.tensor([0.0, 5.0], dtype=torch.float64), "b": torch.zeros(1, dtype=torch.float64)}
    torch.testing.assert_close(step.direction(weights, gradients, across)["a"], across["a"] / 5, rtol=1e-6, atol=0)


def test_clipping_moves_weights_that_v_does_not_see():
    weights = {key: value.detach() for key, value in parameters().items()}
    step = InnerStep.same(SGD(lr=1.0), weights, clip_norm=0.5)
    u = step.direction(weights, slopes(0), {"a": V["a"]})
    assert u["b"].abs() > 0
    unclipped = InnerStep.same(SGD(lr=1.0), weights).direction(weights, slopes(0), {"a": V["a"]})
    assert "b" not in unclipped


def test_adam_has_a_finite_direction_where_the_gradient_was_always_zero():
    # There the update is gradient / eps * lr (a = 1 in the first step), so D = lr / eps.
    weights = {"a": torch.zeros(3, dtype=torch.float64)}
    step = InnerStep.same(Adam(lr=0.1, eps=0.5), weights)
    u = step.direction(weights, {"a": torch.zeros(3, dtype=torch.float64)}, V)
    torch.testing.assert_close(u["a"], 0.2 * V["a"])


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(OPTIMISERS)), st.sampled_from([0.0, 0.5]), st.integers(0, 100))
def test_the_direction_is_the_transpose_of_how_the_step_moves(name: str, clip_norm: float, seed: int):
    # < v, after(gradient + e x) - after(gradient - e x) > / 2e = - < D v, x >; Adam behind clipping is not symmetric.
    weights = parameters()
    step = step_of(OPTIMISERS[name](list(weights.values())), weights, clip_norm)
    _, step = step.take(weights, slopes(seed))
    v, x, here = slopes(seed + 1), slopes(seed + 2), slopes(seed + 3)
    ahead, behind = (step.take(weights, move_along(here, x, length))[0] for length in (1e-6, -1e-6))
    change = inner_product(v, {key: (ahead[key] - behind[key]) / 2e-6 for key in ahead})
    torch.testing.assert_close(change, -inner_product(step.direction(weights, here, v), x), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: torch.optim.RMSprop(p), "inner optimizer is RMSprop, wanted is SGD, Adam or AdamW"),
        (lambda p: torch.optim.Adam(p, amsgrad=True), "amsgrad switched on, which is not supported; switch it off"),
        (lambda p: torch.optim.SGD(p, maximize=True), "maximize switched on"),
    ],
)
def test_other_optimisers_are_refused(make, message: str):
    weights = parameters()
    with pytest.raises(ConfigError, match=message):
        step_of(make(list(weights.values())), weights)


def test_a_weight_of_no_group_is_refused():
    weights = parameters()
    with pytest.raises(ConfigError, match="weight 'b' is in no group of the optimizer; name only weights"):
        step_of(torch.optim.SGD([weights["a"]], lr=0.1), weights)
