"""Proximal steps and factors against numbers worked out by hand and naive references."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.methods.subgraph.factors import FAINT, FactorKind, SubgraphFactors, alphas, part_costs
from automl_kd.methods.subgraph.proximal import apg, ista, soft_threshold
from automl_kd.models import build_model
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.pruning.coupling import Coupling, Selection
from automl_kd.models.pruning.surgery import thin_network
from automl_kd.models.pruning.tracing import trace
from automl_kd.space import InputShape

SHAPE = InputShape(3, 8, 8, 10)
ALL: frozenset[FactorKind] = frozenset(("channel", "block", "stage"))


def coupling() -> Coupling:
    return trace(build_model("resnet14", SHAPE), SHAPE)


def factors(kinds: frozenset[FactorKind] = ALL, least: int = 2) -> SubgraphFactors:
    found = coupling()
    return SubgraphFactors(found, kinds, {group.name: least for group in found.free}, torch.device("cpu"))


def test_soft_threshold_by_hand():
    v = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])
    torch.testing.assert_close(soft_threshold(v, 0.5), torch.tensor([-1.5, 0.0, 0.0, 0.0, 1.5]))
    torch.testing.assert_close(soft_threshold(v, torch.tensor([0.0, 1, 1, 0, 3])), torch.tensor([-2.0, 0, 0, 0.5, 0]))


@given(st.floats(-3, 3), st.floats(0, 2))
def test_soft_threshold_minimises_the_penalised_distance(v, t):
    # the definition: argmin over x of (x - v)^2 / 2 + t |x|
    x = torch.linspace(-4, 4, 8001, dtype=torch.float64)
    best = x[((x - v) ** 2 / 2 + t * x.abs()).argmin()]
    assert soft_threshold(torch.tensor(v, dtype=torch.float64), t).item() == pytest.approx(best.item(), abs=1e-3)


def test_ista_reaches_the_minimum_of_a_lasso():
    # (g - a)^2 / 2 + 0.3 g over g >= 0 has its minimum at max(a - 0.3, 0)
    a, g = torch.tensor([1.0, 0.2, -1.0]), torch.ones(3)
    for _ in range(200):
        g = ista(g, g - a, 0.1, 0.1 * 0.3)
    torch.testing.assert_close(g, torch.tensor([0.7, 0.0, 0.0]))
    assert g[1] == 0


def test_eight_accelerated_steps_follow_the_reference():
    # a number at a time, as the recursion is written: m <- mu m; z <- S(g - eta grad); m <- z - g + m; g <- z + mu m
    a, eta, t, mu = 0.8, 0.1, 0.02, 0.9
    g, m = torch.tensor([1.0]).double(), torch.zeros(1).double()
    one, momentum = 1.0, 0.0
    for _ in range(8):
        step = one - eta * (one - a)
        z = max(abs(step) - t, 0.0) * (1 if step > 0 else -1)
        momentum = z - one + mu * momentum
        one = max(0.0, z + mu * momentum)
        g, m = apg(g, g - a, m, eta, t, mu)
        assert g.item() == pytest.approx(one, rel=1e-12)
    # two steps by hand: z = 1 - 0.02 - 0.02 = 0.96, m = -0.04, g = 0.96 - 0.036 = 0.924
    first, _ = apg(torch.tensor([1.0]), torch.tensor([0.2]), torch.zeros(1), eta, t, mu)
    assert first.item() == pytest.approx(0.924)


def test_factors_begin_at_one_and_lie_by_group_block_and_stage():
    parts = factors()
    gates = parts.gates()
    assert set(gates) == {*(g.name for g in parts.coupling.free), *parts.coupling.blocks, "stage1", "stage2", "stage3"}
    assert gates["stage3.1.body.0"].shape == (64,)
    assert gates["stage3.1"].shape == (1,)
    assert all((gate == 1).all() for gate in gates.values())
    assert parts.alive() == parts.coupling.whole
    assert set(factors(frozenset({"block"})).gates()) == set(parts.coupling.blocks)


def step(parts: SubgraphFactors, **moved: torch.Tensor) -> None:
    """A step of length 1, without penalty, that takes the named parts to the given values."""
    for name, gate in parts.gates().items():
        if name in moved:
            gate.backward(gate.detach() - moved[name])
    parts.step(1.0, torch.zeros_like(parts.values), "frozen", accelerate=False)


def test_what_is_zero_is_not_alive():
    parts = factors(least=1)
    values = torch.ones(16)
    values[[0, 3]] = 0
    step(parts, **{"stem.0": values, "stage1.1": torch.zeros(1), "stage2": torch.zeros(1)})
    alive = parts.alive()
    assert alive.channels["stem.0"] == (1, 2, *range(4, 16))
    # its own factor, or its stage's
    assert alive.removed == {"stage1.1", "stage2.1"}


def test_the_minimum_width_is_never_undercut():
    parts = factors(least=2)
    values = -torch.arange(16.0)
    values[5] = 1.0
    step(parts, **{"stem.0": values})
    kept = parts.gates()["stem.0"].detach()
    # the largest stays where it is; the next largest, channel 0, is kept faintly; all others are gone
    assert kept[5] == 1
    assert kept[0] == pytest.approx(FAINT)
    assert kept.count_nonzero() == 2
    assert parts.alive().channels["stem.0"] == (0, 5)


@pytest.mark.parametrize("remedy", ["mean", "max"])
def test_projection_holds_the_scale_of_layers_and_not_of_blocks(remedy):
    parts = factors()
    weights = torch.rand(parts.values.shape, generator=torch.Generator().manual_seed(0))
    (parts.values * weights).sum().backward()
    parts.step(0.5, torch.full_like(parts.values, 0.2), remedy, accelerate=True)
    for name, gate in parts.gates().items():
        found = gate.max() if remedy == "max" else gate.mean()
        if gate.numel() > 1:
            assert found.item() == pytest.approx(1, abs=1e-6)
        else:
            assert found.item() < 1, name


def test_projection_undoes_a_penalty_that_is_alike_for_all():
    # why "frozen" is the default: without gradients nothing falls, though nothing depends on any channel
    parts = factors(frozenset({"channel"}))
    for _ in range(50):
        parts.values.grad = torch.zeros_like(parts.values)
        parts.step(0.1, torch.full_like(parts.values, 0.1), "mean", accelerate=False)
    torch.testing.assert_close(parts.values.detach(), torch.ones_like(parts.values))


def test_costs_are_those_of_networks_with_one_part_less():
    parts, model = factors(), build_model("resnet14", SHAPE)
    found = parts.coupling
    whole = count_cost(model, SHAPE)
    by_part = dict(zip(parts.names, torch.split(part_costs(parts, found.whole, "macs"), parts.sizes), strict=True))
    for name in ("stem.0", "stage2.1.body.0"):
        less = Selection({**found.whole.channels, name: found.whole.channels[name][1:]})
        assert by_part[name][0].item() == whole.macs - count_cost(thin_network(model, found, less), SHAPE).macs
    without = thin_network(model, found, Selection(found.whole.channels, frozenset({"stage3.1"})))
    assert by_part["stage3.1"].item() == by_part["stage3"].item() == whole.macs - count_cost(without, SHAPE).macs


def test_alpha_is_the_cost_over_the_mean_of_its_kind():
    parts = factors()
    weights = alphas(parts, parts.coupling.whole, "params")
    blocks = len(parts.coupling.blocks)
    for kind in torch.tensor_split(weights, (parts.channels, parts.channels + blocks)):
        assert kind.mean().item() == pytest.approx(1, abs=1e-5)
    by_part = dict(zip(parts.names, torch.split(weights, parts.sizes), strict=True))
    # a channel inside a block of stage 3 reads and writes twice as many as one of stage 2
    ratio = by_part["stage3.1.body.0"][0] / by_part["stage2.1.body.0"][0]
    assert ratio.item() == pytest.approx((2 * 64 * 9 + 2) / (2 * 32 * 9 + 2), rel=1e-4)
