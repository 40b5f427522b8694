"""Learning rates by hand."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from automl_kd.spec import Recipe
from automl_kd.training.optimizers import lay_moments, learning_rate, make_optimizer, resume


def rates(recipe: Recipe, steps: int) -> list[float]:
    return [learning_rate(recipe, step, steps) for step in range(recipe.epochs * steps)]


def test_cosine_by_hand():
    # four steps in all: (1 + cos(pi k / 4)) / 2 for k = 0, 1, 2, 3
    expected = [1.0, 0.8535533905932737, 0.5, 0.14644660940672627]
    assert rates(Recipe(epochs=2, lr=1.0), 2) == pytest.approx(expected)


def test_warmup_rises_to_the_rate_and_the_cosine_follows():
    # two warm-up steps: 1/2, 1; then cosine over the remaining four from its top
    expected = [0.5, 1.0, 1.0, 0.8535533905932737, 0.5, 0.14644660940672627]
    assert rates(Recipe(epochs=3, lr=1.0, warmup=1 / 3), 2) == pytest.approx(expected)


def test_milestones_are_fractions_of_the_run():
    recipe = Recipe(epochs=4, lr=1.0, schedule="multistep", milestones=(0.5, 0.75), gamma=0.1)
    assert rates(recipe, 1) == pytest.approx([1.0, 1.0, 0.1, 0.01])
    assert rates(recipe, 2) == pytest.approx([1.0] * 4 + [0.1] * 2 + [0.01] * 2)


def test_the_rate_of_a_run_that_ends_inside_an_epoch_is_that_of_as_many_steps():
    # 1.5 epochs of 4 steps are 6 steps, as 3 epochs of 2
    for schedule in ({}, {"warmup": 0.5}, {"schedule": "multistep", "milestones": (0.5,)}):
        short, whole = Recipe(epochs=2, last_epoch=0.5, lr=1.0, **schedule), Recipe(epochs=3, lr=1.0, **schedule)
        assert [learning_rate(short, step, 4) for step in range(6)] == rates(whole, 2)


def test_one_sgd_step_by_hand():
    # Nesterov's first step is (1 + momentum) times the decayed gradient: 1 - 0.1 * 1.9 * (2 + 0.5 * 1)
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    weight.grad = torch.tensor([2.0])
    make_optimizer([weight], Recipe(lr=0.1, momentum=0.9, weight_decay=0.5)).step()
    assert weight.item() == pytest.approx(1 - 0.1 * 1.9 * 2.5)


def test_adamw_decays_apart_from_the_gradient():
    # first step: lr * sign of the gradient, and lr * decay of the weight: 1 - 0.1 * 0.5 * 1 - 0.1
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    weight.grad = torch.tensor([3.0])
    make_optimizer([weight], Recipe(optimizer="adamw", lr=0.1, weight_decay=0.5)).step()
    assert weight.item() == pytest.approx(1 - 0.05 - 0.1)


STATES = [
    ("sgd", "cuda", {"momentum_buffer": "cuda"}),
    ("sgd", "cpu", {"momentum_buffer": "cpu"}),
    ("adamw", "cuda", {"step": "cuda", "exp_avg": "cuda", "exp_avg_sq": "cuda"}),
    ("adamw", "cpu", {"step": "cpu", "exp_avg": "cpu", "exp_avg_sq": "cpu"}),
]


@pytest.mark.parametrize("before", ["cpu", "cuda"])
@pytest.mark.parametrize(("optimiser", "device", "devices"), STATES)
def test_a_state_goes_on_where_the_weights_lie(
    optimiser: Literal["sgd", "adamw"], before: str, device: str, devices: dict[str, str]
):
    # A fused optimizer counts on the card, another on the processor: elsewhere it would be waited for at each step.
    recipe = Recipe(optimizer=optimiser, lr=0.1)
    with FakeTensorMode():
        weight = torch.nn.Parameter(torch.zeros(2, device="cpu"))
        weight.grad = torch.zeros(2, device="cpu")
        made = make_optimizer([weight], recipe)
        made.step()
        state = made.state_dict()
        state["param_groups"][0]["fused"] = True if before == "cuda" else None
        state["state"][0] = {name: value.to(device) for name, value in state["state"][0].items()}  # as a file is read
        there = torch.nn.Parameter(torch.zeros(2, device=device))
        continued = make_optimizer([there], recipe)
        resume(continued, state)
    assert {name: value.device.type for name, value in continued.state[there].items()} == devices
    assert continued.param_groups[0]["fused"] is (True if device == "cuda" else None)


def test_on_a_card_every_weight_has_a_momentum_that_lies_as_it_does():
    shape, layout = (4, 3, 3, 3), torch.channels_last
    with FakeTensorMode():
        weights = [torch.nn.Parameter(torch.zeros(shape, device="cuda").to(memory_format=layout)) for _ in range(2)]
        made = make_optimizer(weights, Recipe())
        state = made.state_dict()
        # One weight had no gradient yet, the other's momentum was kept in plain order.
        state["state"] = {0: {"momentum_buffer": torch.zeros(shape, device="cuda")}}
        resume(made, state)
        found = [made.state[weight]["momentum_buffer"] for weight in weights]
        assert [one.is_contiguous(memory_format=layout) for one in found] == [True, True]
        adam = make_optimizer(weights[:1], Recipe(optimizer="adamw"))
        plain = {name: torch.zeros(shape, device="cuda") for name in ("exp_avg", "exp_avg_sq")}
        resume(adam, {**adam.state_dict(), "state": {0: {**plain, "step": torch.tensor(3.0)}}})
        assert all(adam.state[weights[0]][name].is_contiguous(memory_format=layout) for name in plain)
        gaps = torch.nn.Parameter(weights[0].detach()[:, ::2])
        assert make_optimizer([gaps], Recipe()).param_groups[0]["fused"] is None


def test_a_weight_that_joins_later_steps_as_if_it_had_had_no_momentum():
    # The fused operator exists on the processor too, where it rounds otherwise.
    ended = []
    for way in (None, True):
        weights = [torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2)]
        optimizer = torch.optim.SGD(weights, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=way)
        lay_moments(optimizer)
        for step in range(3):
            for place, weight in enumerate(weights[: 1 + (step > 0)]):
                weight.grad = torch.tensor([0.3 * step, 0.7]) - place
            optimizer.step()
        ended.append(torch.stack([weight.detach() for weight in weights]))
    torch.testing.assert_close(*ended, rtol=1e-6, atol=1e-6)


def test_adamw_takes_one_operator_on_a_processor_where_a_weight_is_large_and_comes_to_the_same():
    table = torch.randn(1024, 1024, generator=torch.Generator().manual_seed(0))
    recipe = Recipe(optimizer="adamw", lr=1e-2, weight_decay=0.01)
    weights = [torch.nn.Parameter(table.clone()) for _ in range(2)]
    made = make_optimizer([weights[0]], recipe)
    plain = torch.optim.AdamW([weights[1]], lr=1e-2, weight_decay=0.01, eps=recipe.eps)
    assert made.param_groups[0]["fused"] is True
    for step in range(3):
        for weight in weights:
            weight.grad = table.roll(step, 0)
        made.step()
        plain.step()
    torch.testing.assert_close(*weights, rtol=0, atol=1e-6)
    for small, plain_recipe in ((table[1:], recipe), (table, Recipe())):
        one = make_optimizer([torch.nn.Parameter(small)], plain_recipe)
        assert one.param_groups[0]["fused"] is None  # results for images stay what they were
