"""Rank and fill: real costs, minimum widths, several budgets, measured latency, and baselines of equal cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_kd.config import Budget
from automl_kd.errors import ConfigError
from automl_kd.methods.subgraph.baselines import baseline_scores, magnitude
from automl_kd.methods.subgraph.budget import (
    PartScores,
    choose_subgraph,
    devices_here,
    even,
    fill_budget,
    least_widths,
    refuse_below,
    scale_budget,
    selected,
    smallest,
    with_removed,
)
from automl_kd.models import build_model
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.pruning.coupling import Selection
from automl_kd.models.pruning.surgery import thin_network
from automl_kd.models.pruning.tracing import trace
from automl_kd.space import InputShape

SHAPE = InputShape(3, 8, 8, 10)
MODEL = build_model("resnet14", SHAPE)
COUPLING = trace(MODEL, SHAPE)
WHOLE = COUPLING.cost(COUPLING.whole)
LEAST = least_widths(COUPLING, 0.125, 4)
NAMES = ("uniform", "shallow", "random", "magnitude")


def untimed(_selection: Selection) -> float:
    raise AssertionError("no latency was asked for")


def chosen(scores: PartScores, budget: Budget) -> Selection:
    return choose_subgraph(COUPLING, scores, budget, LEAST, 4, untimed)


def baseline(name: str, seed: int = 0) -> PartScores:
    return baseline_scores(name, MODEL, COUPLING, np.random.default_rng(seed))  # type: ignore[arg-type]


def test_least_widths_by_hand():
    # an eighth of 16, 32 and 64 is 2, 4 and 8, in multiples of 4
    assert set(LEAST.values()) == {4, 8}
    assert LEAST["stem.0"] == 4
    assert LEAST["stage3.1.body.0"] == 8
    assert set(least_widths(COUPLING, 0.001, 1).values()) == {1}
    assert least_widths(COUPLING, 1.0, 24)["stem.0"] == 16


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.15, 1.0), st.sampled_from(["params", "macs", "both"]))
def test_any_scores_fill_any_budget_from_below(seed, fraction, measure):
    rng = np.random.default_rng(seed)
    scores = PartScores(
        {group.name: torch.from_numpy(rng.uniform(0.1, 1, group.size)) for group in COUPLING.free},
        {name: float(rng.uniform(0.1, 1)) for name in COUPLING.blocks},
    )
    limit = Budget(params=WHOLE.params, macs=WHOLE.macs)
    budget = scale_budget(limit if measure == "both" else Budget(**{measure: getattr(limit, measure)}), fraction)
    found = chosen(scores, budget)
    cost = COUPLING.cost(found)
    assert cost == count_cost(thin_network(MODEL, COUPLING, found), SHAPE)
    for name in ("params", "macs"):
        assert not getattr(budget, name) or getattr(cost, name) <= getattr(budget, name)
    for group in COUPLING.free:
        kept = found.channels[group.name]
        assert len(kept) >= LEAST[group.name]
        assert len(kept) % 4 == 0
        # the channels with the highest scores
        values = scores.channels[group.name]
        assert set(kept) == set(values.argsort(descending=True)[: len(kept)].tolist())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fraction", [0.3, 0.6])
def test_baselines_have_equal_cost(name, fraction):
    budget = scale_budget(Budget(macs=WHOLE.macs), fraction)
    cost = COUPLING.cost(chosen(baseline(name), budget))
    # four channels of the widest stream cost about a twentieth of a network as small as this one
    assert 0.93 * budget.macs <= cost.macs <= budget.macs


def test_the_whole_budget_is_the_whole_network():
    assert chosen(baseline("uniform"), Budget(params=WHOLE.params, macs=WHOLE.macs)) == COUPLING.whole


def test_uniform_thinning_keeps_the_same_share_everywhere():
    found = chosen(baseline("uniform"), scale_budget(Budget(macs=WHOLE.macs), 0.4))
    shares = [len(found.channels[group.name]) / group.size for group in COUPLING.free]
    assert found.removed == frozenset()
    assert max(shares) - min(shares) <= 4 / 16  # one step of the narrowest layers


def test_shallow_keeps_all_channels_and_the_first_blocks():
    found = chosen(baseline("shallow"), scale_budget(Budget(macs=WHOLE.macs), 0.8))
    assert found.removed
    assert all(len(found.channels[group.name]) == group.size for group in COUPLING.free if not group.block)
    # stage 1 has two blocks that could go: the second one goes first
    assert "stage1.0" not in found.removed


def test_random_subgraphs_differ_in_shape_and_repeat_under_their_seed():
    budget = scale_budget(Budget(macs=WHOLE.macs), 0.5)
    one, again, two = (chosen(baseline("random", seed), budget) for seed in (0, 0, 1))
    assert one == again
    assert COUPLING.widths(one) != COUPLING.widths(two)


def test_magnitude_by_hand():
    model = build_model("resnet14", SHAPE)
    inner = model.get_parameter("stage1.0.body.0.weight")
    with torch.no_grad():
        inner.fill_(1.0)
        inner[3] = -5.0
        inner[4] = 0.0
    found = magnitude(model, COUPLING).channels["stage1.0.body.0"]
    # fourteen ones, a five and a zero: mean 19/16
    torch.testing.assert_close(found[[0, 3, 4]], torch.tensor([16 / 19, 80 / 19, 0.0]).double())


def test_one_search_gives_students_for_several_budgets():
    scores = baseline("random")
    small, large = (chosen(scores, scale_budget(Budget(macs=WHOLE.macs), fraction)) for fraction in (0.3, 0.6))
    assert COUPLING.cost(small).macs < COUPLING.cost(large).macs <= 0.6 * WHOLE.macs


def test_what_scores_zero_is_left_out_though_there_is_room():
    scores = baseline("uniform")
    half = {name: values * (torch.arange(len(values)) < len(values) / 2) for name, values in scores.channels.items()}
    found = chosen(PartScores(half, {**scores.blocks, "stage2.1": 0.0}), Budget(macs=WHOLE.macs))
    assert found.removed == {"stage2.1"}
    present = [group for group in COUPLING.free if group.block != "stage2.1"]
    assert all(len(found.channels[group.name]) == group.size // 2 for group in present)


def test_a_latency_is_met_by_the_longest_path_that_is_fast_enough():
    scores, asked = baseline("uniform"), []

    def latency(selection: Selection) -> float:
        asked.append(selection)
        return COUPLING.cost(selection).macs / 1e6  # a machine whose time is its multiply-adds

    limit = 0.5 * WHOLE.macs / 1e6
    found = choose_subgraph(COUPLING, scores, Budget(latency_ms=limit), LEAST, 4, latency)
    path = fill_budget(COUPLING, scores, Budget(), LEAST, 4)
    ends = [selected(COUPLING, scores, LEAST, path[:end]) for end in range(len(path) + 1)]
    fast = [end for end in ends if COUPLING.cost(end).macs / 1e6 <= limit]
    assert found == fast[-1]
    assert len(asked) <= 3 + len(path).bit_length()


def test_budgets_below_the_smallest_are_refused():
    cost = COUPLING.cost(selected(COUPLING, baseline("uniform"), LEAST, []))
    refuse_below(COUPLING, Budget(params=cost.params, macs=cost.macs), LEAST, "resnet14")
    for name in ("params", "macs"):
        smallest = getattr(cost, name)
        with pytest.raises(ConfigError, match=rf"^a budget of {smallest - 1} {name} lies below the {smallest} of .*; "):
            refuse_below(COUPLING, Budget(**{name: smallest - 1}), LEAST, "resnet14")
    with pytest.raises(ConfigError, match=r"^a budget of 0.5 ms lies below the 1 ms of the smallest subgraph; raise"):
        choose_subgraph(COUPLING, baseline("uniform"), Budget(latency_ms=0.5), LEAST, 4, lambda _: 1.0)


def test_a_latency_below_that_of_the_smallest_is_refused_before_anything_is_chosen():
    asked = []

    def latency(selection: Selection) -> float:
        asked.append(selection)
        return 2.0

    refuse_below(COUPLING, Budget(latency_ms=2.0), LEAST, "resnet14", [latency])
    assert asked == [smallest(COUPLING, LEAST)]
    assert COUPLING.cost(asked[0]) == COUPLING.cost(selected(COUPLING, baseline("random"), LEAST, []))
    with pytest.raises(ConfigError, match=r"^a budget of 1.9 ms lies below the 2 ms of the smallest subgraph; raise"):
        refuse_below(COUPLING, Budget(latency_ms=1.9), LEAST, "resnet14", [latency])
    # on a faster device of this machine it would do
    refuse_below(COUPLING, Budget(latency_ms=1.9), LEAST, "resnet14", [latency, lambda _: 1.0])
    refuse_below(COUPLING, Budget(latency_ms=1e-9), LEAST, "resnet14")


def test_which_devices_are_timed_beforehand(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [devices_here("cpu"), devices_here("cuda")] == [["cpu"], []]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [devices_here("cpu"), devices_here("cuda")] == [["cpu", "cuda"], ["cuda"]]


def test_a_limit_that_is_scaled_stays_one():
    assert scale_budget(Budget(params=1000, macs=0), 1e-9) == Budget(params=1, macs=0)
    assert scale_budget(Budget(params=1001, macs=3), 0.5) == Budget(params=500, macs=1)


def test_even_scores_by_hand():
    assert even(4).tolist() == [1.0, 0.75, 0.5, 0.25]


def test_what_a_search_removed_fills_what_is_left_of_the_budget():
    found, others = baseline("magnitude"), baseline("magnitude", 1)
    name = next(iter(found.channels))
    kept = found.channels[name].clone()
    kept[:10] = 0.0
    emptied = PartScores({**found.channels, name: kept}, dict.fromkeys(found.blocks, 0.0))
    filled = with_removed(emptied, others)
    least = min(float(values[values > 0].min()) for values in emptied.channels.values())
    assert torch.equal(filled.channels[name][10:], kept[10:])
    assert float(filled.channels[name][:10].max()) < least
    assert torch.equal(filled.channels[name][:10].argsort(), others.channels[name][:10].argsort())
    assert all(0 < score < least for score in filled.blocks.values())
    budget = Budget(macs=WHOLE.macs)
    assert chosen(filled, budget) == COUPLING.whole
    assert chosen(emptied, budget) != COUPLING.whole
