from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from automl_kd.errors import ConfigError, InfeasibleArchitectureError, UnknownNameError
from automl_kd.proxies import AGGREGATES, PROXIES, expand_proxies, proxy_entry
from automl_kd.proxies.readings import Reading
from automl_kd.proxies.score import ProxyScore, add_aggregate, rank_scores, score_architectures, summary
from automl_kd.space import Architecture, Choice, InputShape, Parameter, SearchSpace, enumerate_all
from search_spaces import resnet_depth
from tests.proxies.examples import WIDTHS, example_probe

HERE = "tests.proxies.examples"
ONE, TWO, THREE, FOUR = enumerate_all(WIDTHS)
SHALLOW, MIDDLE, DEEP = (
    Architecture.of({"depth1": first, "depth2": 1, "depth3": last}) for first, last in ((1, 1), (1, 3), (3, 3))
)


def values(scores: Sequence[ProxyScore]) -> list[float]:
    return [one.value for one in scores]


def test_params_by_hand():
    # 64 pixels to w units to 10 classes: 65 w + 10 (w + 1)
    found = score_architectures(WIDTHS, [ONE, THREE], ["params"], [example_probe()], seed=0)
    assert values(found) == [85, 235]
    assert [one.architecture for one in found] == [ONE, THREE]


def test_each_architecture_has_its_scores_in_the_order_asked():
    found = score_architectures(WIDTHS, [TWO, ONE], ["macs", "params"], [example_probe()], seed=0)
    assert [(one.architecture, one.proxy) for one in found] == [
        (TWO, "macs"),
        (TWO, "params"),
        (ONE, "macs"),
        (ONE, "params"),
    ]
    assert all(one.seconds > 0 and one.draws == 1 and one.spread == 0 and not one.error for one in found)


def test_draws_are_averaged_and_their_spread_reported():
    probes = [example_probe(seed=0), example_probe(seed=1)]
    (both,) = score_architectures(resnet_depth.SPACE, [SHALLOW], ["naswot"], probes, seed=0)
    (first,) = score_architectures(resnet_depth.SPACE, [SHALLOW], ["naswot"], probes[:1], seed=0)
    second = 2 * both.value - first.value
    assert both.draws == 2
    assert first.value != second
    assert both.spread == pytest.approx(abs(first.value - second) / math.sqrt(2))


def test_weights_differ_between_draws_and_seeds():
    probe = example_probe()
    (one,) = score_architectures(resnet_depth.SPACE, [SHALLOW], ["diswot_relation"], [probe, probe], seed=0)
    assert one.spread > 0
    (other,) = score_architectures(resnet_depth.SPACE, [SHALLOW], ["diswot_relation"], [probe, probe], seed=1)
    assert one.value != other.value


def test_a_proxys_random_numbers_are_the_same_for_all_architectures_and_repeat():
    found = score_architectures(WIDTHS, [ONE, TWO], [f"{HERE}:NOISY"], [example_probe()], seed=0)
    assert found[1].value - found[0].value == pytest.approx(1)
    torch.rand(3)
    assert values(score_architectures(WIDTHS, [ONE, TWO], [f"{HERE}:NOISY"], [example_probe()], seed=0)) == values(
        found
    )


def test_scoring_leaves_the_global_generator_alone():
    probe, before = example_probe(), torch.get_rng_state()
    score_architectures(WIDTHS, [ONE], [f"{HERE}:NOISY", "params"], [probe], seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_failure_spoils_one_score_and_says_why():
    found = score_architectures(WIDTHS, [FOUR, THREE, ONE], [f"{HERE}:FRAGILE", "params"], [example_probe()], seed=0)
    fragile, counted = found[::2], found[1::2]
    assert [one.error for one in fragile] == [
        "the proxy returned -inf, which cannot be ranked",
        "RuntimeError: three is too many",
        "",
    ]
    assert math.isnan(fragile[0].value)
    assert math.isnan(fragile[1].value)
    assert fragile[2].value == 1
    assert values(counted) == [310, 235, 85]


def test_ranked_puts_the_best_first_and_failures_last():
    found = score_architectures(WIDTHS, [THREE, ONE, FOUR, TWO], [f"{HERE}:FRAGILE"], [example_probe()], seed=0)
    order = [one.architecture for one in rank_scores(found)]
    assert order[:2] == [TWO, ONE]
    assert set(order[2:]) == {THREE, FOUR}
    assert [one.architecture for one in rank_scores(found[::-1])] == order


def test_rank_sum_by_hand():
    # Ranks of x: 1, 2.5, 2.5 (a tie); of y: 3, 1, 2. The fourth failed in y, and is not ranked in x either.
    table = {
        ONE: [{"diswot_relation": Reading(0.1, 1.0), "diswot_semantic": Reading(9.0, 2.0)}],
        TWO: [{"diswot_relation": Reading(0.5, 1.0), "diswot_semantic": Reading(-3.0, 2.0)}],
        THREE: [{"diswot_relation": Reading(0.5, 1.0), "diswot_semantic": Reading(0.0, 2.0)}],
        FOUR: [{"diswot_relation": Reading(0.2, 1.0), "diswot_semantic": Reading(math.nan, 2.0, "broken")}],
    }
    add_aggregate(list(table.values()), "diswot", AGGREGATES["diswot"])
    totals = [table[one][0]["diswot"] for one in (ONE, TWO, THREE)]
    assert totals == [Reading(4.0, 3.0), Reading(3.5, 3.0), Reading(4.5, 3.0)]
    failed = summary(FOUR, "diswot", table[FOUR])
    assert math.isnan(failed.value)
    assert failed.error == "broken"


def test_the_aggregate_ranks_within_the_scored_set():
    names = ["diswot", "diswot_relation", "diswot_semantic"]
    found = score_architectures(resnet_depth.SPACE, [SHALLOW, MIDDLE, DEEP], names, [example_probe()], seed=0)
    totals, relations, semantics = (values(found[start::3]) for start in range(3))
    expected = [
        sorted(relations).index(r) + sorted(semantics).index(s) + 2 for r, s in zip(relations, semantics, strict=True)
    ]
    assert totals == expected
    alone = score_architectures(resnet_depth.SPACE, [DEEP], ["diswot"], [example_probe()], seed=0)
    assert values(alone) == [2]


def test_an_architecture_that_occurs_twice_counts_once():
    found = score_architectures(resnet_depth.SPACE, [SHALLOW, DEEP, SHALLOW], ["diswot"], [example_probe()], seed=0)
    assert found[0] == found[2]
    assert sorted([found[0].value, found[1].value]) in ([2, 4], [3, 3])


def test_progress_is_reported():
    seen: list[int] = []
    score_architectures(WIDTHS, [ONE, TWO, ONE], ["params"], [example_probe()], seed=0, on_score=seen.append)
    assert seen == [1, 2, 3]


def test_expand_replaces_aggregates_by_their_members():
    assert expand_proxies(["diswot_semantic", "params", "diswot"]) == ("diswot_semantic", "params", "diswot_relation")
    assert all(member in PROXIES for aggregate in AGGREGATES.values() for member in aggregate.members)
    assert not set(AGGREGATES) & set(PROXIES)


@pytest.mark.parametrize(("wrong", "right"), [("synflo", "synflow"), ("diswott", "diswot"), ("parms", "params")])
def test_an_unknown_proxy_is_met_with_a_suggestion(wrong, right):
    with pytest.raises(UnknownNameError, match=f"no proxy is called '{wrong}'; did you mean '{right}'"):
        score_architectures(WIDTHS, [ONE], ["params", wrong], [example_probe()], seed=0)


def test_a_reference_must_lead_to_an_entry():
    assert proxy_entry(f"{HERE}:NOISY").source == "made up"
    with pytest.raises(ConfigError, match=r"is a function, and a ProxyEntry was wanted"):
        proxy_entry(f"{HERE}:noisy")


def test_a_missing_teacher_is_noticed_before_the_work_begins():
    with pytest.raises(ConfigError, match="'diswot_relation' compares students with a teacher"):
        score_architectures(WIDTHS, [ONE], ["params", "diswot"], [example_probe(teacher=None)], seed=0)


def test_at_least_one_draw_is_needed():
    with pytest.raises(ConfigError, match="give at least one"):
        score_architectures(WIDTHS, [ONE], ["params"], [], seed=0)


def test_a_point_outside_the_space_is_refused():
    with pytest.raises(InfeasibleArchitectureError):
        score_architectures(WIDTHS, [Architecture.of({"width": 5})], ["params"], [example_probe()], seed=0)


class Dropping(nn.Module):
    """A network that draws random numbers when it is asked."""

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        convolution = nn.Conv2d(shape.channels, 4, 3)
        self.body = nn.Sequential(convolution, nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, shape.classes))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x))
        return logits


DROPPING = SearchSpace(
    name="dropping",
    source="made up",
    parameters={"width": Parameter(Choice((1, 2)))},
    build=lambda _values, shape: Dropping(shape),
    default={"width": 1},
)


def test_what_a_student_draws_does_not_depend_on_the_company():
    probe, (one, _) = example_probe(), enumerate_all(DROPPING)
    (alone,) = score_architectures(DROPPING, [one], ["grad_norm"], [probe], seed=0)
    for company in (["meco", "zico", "grad_norm"], ["naswot", "gradsign", "grad_norm"]):
        *_, last = score_architectures(DROPPING, [one], company, [probe], seed=0)
        assert last.value == alone.value
