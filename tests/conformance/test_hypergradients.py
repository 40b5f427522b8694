"""What every hypergradient promises: one suite over the whole table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from automl_kd.bilevel import HYPERGRADIENTS
from automl_kd.bilevel.base import HyperGradient
from automl_kd.bilevel.conjugate_gradient import ConjugateGradient
from automl_kd.bilevel.neumann import Neumann
from automl_kd.bilevel.unroll import Unroll
from automl_kd.errors import ConfigError
from tests.bilevel.problems import RULES, TAPS, Case, Ridge, attention_net, case, dropout_net, relative_error, resnet

EXACT_STEPS = ["backbone_jvp", "output_backward"]
RATE = 0.3
# With the central difference of a quadratic problem there is no error but rounding, which radius 1 keeps small.
ON_RIDGE: dict[str, dict[str, Any]] = {
    "backbone_jvp": {},
    "output_backward": {},
    "finite_difference": {"radius": 1.0},
    "unroll": {},
    "conjugate_gradient": {"iterations": 4},
    "neumann": {"terms": 400, "rate": 0.5},
}
TAPPED = {resnet: TAPS, dropout_net: ("pre_pool", "pooled"), attention_net: ("pooled",)}
IMPLICIT = ["conjugate_gradient", "neumann"]


@pytest.fixture(params=HYPERGRADIENTS)
def member(request) -> HyperGradient:
    return HYPERGRADIENTS[request.param]()


def answer(member: HyperGradient, given: Case) -> dict[str, torch.Tensor]:
    return member(given.problem, given.weights, given.hypers)


def test_the_table_is_complete():
    assert set(ON_RIDGE) == set(HYPERGRADIENTS)
    assert all(isinstance(kind(), HyperGradient) for kind in HYPERGRADIENTS.values())


@pytest.mark.parametrize("name", HYPERGRADIENTS)
def test_ridge_regression_in_closed_form(name: str):
    ridge = Ridge.example()
    w = ridge.minimum if name in IMPLICIT else torch.linspace(-1, 2, 4, dtype=torch.float64)
    wanted = ridge.at_the_minimum() if name in IMPLICIT else ridge.one_step(w, RATE)
    found = answer(HYPERGRADIENTS[name](**ON_RIDGE[name]), ridge.case(w, RATE))
    assert relative_error(found, {"log_penalty": wanted}) < 1e-10


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", EXACT_STEPS)
@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
def test_exact_members_equal_double_backward(name: str, rule: str, clip_norm: float):
    given = case(RULES[rule], resnet(), clip_norm=clip_norm)
    wanted = answer(Unroll(), given)
    assert wanted["alpha"].abs().min() > 0
    assert relative_error(answer(HYPERGRADIENTS[name](), given), wanted) < 1e-10


@pytest.mark.parametrize("name", EXACT_STEPS)
def test_exact_members_equal_double_backward_through_attention(name: str):
    given = case(RULES["nesterov"], attention_net(), ("pooled",))
    wanted = answer(Unroll(), given)
    assert wanted["alpha"].abs().min() > 0
    assert relative_error(answer(HYPERGRADIENTS[name](), given), wanted) < 1e-10


@pytest.mark.parametrize("network", [resnet, dropout_net, attention_net])
def test_answers_have_the_names_and_shapes_of_the_hypers(member: HyperGradient, network):
    given = case(RULES["nesterov"], network(), TAPPED[network])
    found = answer(member, given)
    assert {name: (h.shape, h.dtype, h.requires_grad) for name, h in found.items()} == {
        name: (value.shape, value.dtype, False) for name, value in given.hypers.items()
    }
    assert all(bool(h.isfinite().all()) for h in found.values())


@pytest.mark.parametrize("rule", ["nesterov", "adam"])
def test_nothing_that_was_given_is_changed(member: HyperGradient, rule: str):
    network = dropout_net()
    given = case(RULES[rule], network, ("pre_pool", "pooled"))
    memories = given.problem.step.memories
    remembered = {name: {key: kept.clone() for key, kept in memory.items()} for name, memory in memories.items()}
    before = {name: value.clone() for name, value in network.state_dict().items()}
    hypers, generator = given.hypers["alpha"].clone(), torch.get_rng_state()
    answer(member, given)
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(
        torch.equal(memories[name][key], kept) for name, memory in remembered.items() for key, kept in memory.items()
    )
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert all(module.training for module in network.modules())
    assert torch.equal(given.hypers["alpha"], hypers)
    assert torch.equal(torch.get_rng_state(), generator)


def test_the_same_twice_and_dropout_draws_alike(member: HyperGradient):
    given = case(RULES["momentum"], dropout_net(), ("pre_pool", "pooled"))
    assert torch.equal(answer(member, given)["alpha"], answer(member, given)["alpha"])


def test_a_direct_dependence_is_added(member: HyperGradient):
    # outer + 3 log_penalty: the answer grows by 3.
    given = Ridge.example().case(torch.ones(4, dtype=torch.float64), RATE)
    plain = given.problem.outer
    steeper = replace(given.problem, outer=lambda weights, hypers: plain(weights, hypers) + 3 * hypers["log_penalty"])
    found = answer(member, replace(given, problem=steeper))["log_penalty"]
    torch.testing.assert_close(found, answer(member, given)["log_penalty"] + 3)


def test_a_hyper_parameter_without_influence_gets_zero(member: HyperGradient):
    given = Ridge.example().case(torch.ones(4, dtype=torch.float64), RATE)
    idle = torch.ones(2, dtype=torch.float64)
    found = answer(member, replace(given, hypers={**given.hypers, "idle": idle}))
    assert torch.equal(found["idle"], torch.zeros_like(idle))
    assert found["log_penalty"] != 0


def test_a_weight_that_no_loss_sees_changes_nothing(member: HyperGradient):
    given = Ridge.example().case(torch.ones(4, dtype=torch.float64), RATE)
    found = answer(member, replace(given, weights={**given.weights, "idle": torch.ones(2, dtype=torch.float64)}))
    torch.testing.assert_close(found["log_penalty"], answer(member, given)["log_penalty"], rtol=1e-10, atol=0)


def test_an_outer_loss_that_sees_no_weight_gives_zero(member: HyperGradient):
    given = Ridge.example().case(torch.ones(4, dtype=torch.float64), RATE)
    blind = replace(given.problem, outer=lambda weights, hypers: 0 * weights["w"].sum())
    assert answer(member, replace(given, problem=blind))["log_penalty"] == 0


def test_an_inner_loss_that_sees_no_weight_is_refused(member: HyperGradient):
    given = Ridge.example().case(torch.ones(4, dtype=torch.float64), RATE)
    fixed = {"w": torch.ones(4, dtype=torch.float64)}
    blind = replace(given.problem, outputs=lambda weights: fixed)
    with pytest.raises(ConfigError, match="depends on none of the weights that it was given; compute it from"):
        answer(member, replace(given, problem=blind))


@pytest.mark.parametrize("name", HYPERGRADIENTS)
def test_every_average_of_a_parallel_run_goes_through_reduce(name: str):
    # Three processes with the same batch: the mean is what one has, and what travels is plain tensors without a graph.
    travelled: list[int] = []

    def reduce(tensors):
        assert not any(value.requires_grad for value in tensors.values())
        travelled.append(len(tensors))
        return {key: value.clone() for key, value in tensors.items()}

    ridge = Ridge.example()
    given = ridge.case(ridge.minimum + 0.1, RATE)
    member = HYPERGRADIENTS[name](**ON_RIDGE[name])
    found = member(given.problem, given.weights, given.hypers, reduce)
    torch.testing.assert_close(found, answer(member, given), rtol=1e-12, atol=0)
    iterations = {"conjugate_gradient": 4, "neumann": 399}
    assert len(travelled) == 2 + iterations.get(name, 1)


@pytest.mark.parametrize("name", EXACT_STEPS)
def test_memory_layout_does_not_matter(name: str):
    given = case(RULES["sgd"], resnet())
    spread = {
        key: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
        for key, value in given.weights.items()
    }
    found = answer(HYPERGRADIENTS[name](), replace(given, weights=spread))
    assert relative_error(found, answer(Unroll(), given)) < 1e-10


@pytest.mark.parametrize("name", EXACT_STEPS)
def test_float32_agrees_with_float64(name: str):
    fine = answer(Unroll(), case(RULES["nesterov"], resnet()))
    coarse = answer(HYPERGRADIENTS[name](), case(RULES["nesterov"], resnet(torch.float32)))
    assert coarse["alpha"].dtype == torch.float32
    assert relative_error({"alpha": coarse["alpha"].double()}, fine) < 1e-3


@pytest.mark.parametrize("member", [ConjugateGradient(iterations=40, damping=1.0), Neumann(terms=40, rate=0.01)])
def test_implicit_members_run_through_a_network(member: HyperGradient):
    # The Hessian of cross entropy on a linear classifier over fixed features is positive semidefinite.
    given = case(RULES["sgd"], resnet(), ("pooled",))
    head = {name: value for name, value in given.weights.items() if name.startswith("fc.")}
    found = answer(member, replace(given, weights=head))
    assert bool(found["alpha"].isfinite().all())
    assert found["alpha"].abs().max() > 0
