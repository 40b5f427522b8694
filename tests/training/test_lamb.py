"""LAMB by the formulas of its paper, and against timm."""

from __future__ import annotations

import math

import pytest
import torch
from timm.optim.lamb import Lamb as TimmLamb

from automl_kd.spec import Recipe
from automl_kd.training.lamb import Lamb
from automl_kd.training.optimizers import make_optimizer, resume, set_decay

LAMB = Recipe(optimizer="lamb", lr=0.1, weight_decay=0.5, eps=1e-6, decay_norms=False)


def weights() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(2)
    shapes = [(3, 4), (4,), (2, 3, 2, 2)]
    return [torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes]


def descend(optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter], steps: range) -> None:
    for step in steps:
        for place, weight in enumerate(parameters):
            generator = torch.Generator().manual_seed(10 * step + place)
            weight.grad = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        optimizer.step()


def test_the_first_step_by_hand():
    # m-hat is the gradient and v-hat its square: r = sign; r + decay w = (1 + 0.5 * 3, -1 + 0.5 * 4) = (2.5, 1)
    weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    weight.grad = torch.tensor([[2.0, -7.0]])
    Lamb([weight], lr=0.1, weight_decay=0.5, eps=1e-12).step()
    ratio = 5 / math.hypot(2.5, 1)
    torch.testing.assert_close(weight.detach(), torch.tensor([[3 - 0.1 * ratio * 2.5, 4 - 0.1 * ratio]]))


@pytest.mark.parametrize("weight_decay", [0.5, 0.02])
def test_steps_are_those_of_timm(weight_decay):
    ours, theirs = weights(), weights()
    optimizer = Lamb(
        [{"params": [ours[0], ours[2]]}, {"params": [ours[1]], "weight_decay": 0.0, "decays": False}],
        lr=0.1,
        weight_decay=weight_decay,
    )
    other = TimmLamb(
        [{"params": [theirs[0], theirs[2]]}, {"params": [theirs[1]], "weight_decay": 0.0}],
        lr=0.1,
        weight_decay=weight_decay,
        max_grad_norm=None,
    )
    descend(optimizer, ours, range(6))
    descend(other, theirs, range(6))
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two)


def test_a_weight_of_zeros_takes_the_step_of_adam():
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    weight.grad = torch.full((2, 2), 3.0)
    Lamb([weight], lr=0.1, weight_decay=0.5, eps=1e-12).step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), -0.1))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lamb"])
@pytest.mark.parametrize("decay_norms", [True, False])
def test_a_saved_state_goes_on_as_if_it_had_not_been_broken_off(optimizer, decay_norms):
    recipe = Recipe(optimizer=optimizer, lr=0.1, weight_decay=0.5, decay_norms=decay_norms)
    whole, broken = weights(), weights()
    descend(make_optimizer(whole, recipe), whole, range(5))
    first = make_optimizer(broken, recipe)
    descend(first, broken, range(2))
    for group in first.param_groups:
        group["weight_decay"] = 0.9  # a schedule's
    second = make_optimizer(broken, recipe)
    resume(second, first.state_dict())
    set_decay(second, recipe.weight_decay)
    descend(second, broken, range(2, 5))
    assert all(map(torch.equal, whole, broken))


def test_biases_and_norms_are_left_out_of_the_decay():
    plain, apart = make_optimizer(weights(), Recipe()), make_optimizer(weights(), Recipe(decay_norms=False))
    assert len(plain.param_groups) == 1
    assert "decays" not in plain.state_dict()["param_groups"][0]
    assert [[one.ndim for one in group["params"]] for group in apart.param_groups] == [[2, 4], [1]]
    assert [group["weight_decay"] for group in apart.param_groups] == [5e-4, 0.0]
    set_decay(apart, 0.3)
    assert [group["weight_decay"] for group in apart.param_groups] == [0.3, 0.0]


def test_the_recipe_chooses_it():
    made = make_optimizer(weights(), LAMB)
    assert isinstance(made, Lamb)
    assert [group["eps"] for group in made.param_groups] == [1e-6, 1e-6]
