"""Ranks that formulas are made from: which scores are taken, and where failures stand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from automl_kd.errors import ResultError
from automl_kd.nasbench.proxy_benchmark.benchmark import Target
from automl_kd.nasbench.proxy_benchmark.scores import ProxyScores
from automl_kd.nasbench.proxy_search.statistics import chosen_entries, shares_of, statistics_of
from automl_kd.nasbench.table.columns import Reals

N = 12
SIZE: Reals = np.arange(1, N + 1, dtype=np.float64)
TARGET = Target(
    "toy", "cifar100", "cifar100_test_acc_200", [str(n) for n in range(N)], SIZE / N, {"params": SIZE, "macs": SIZE}
)


def entry(proxy: str, *lines: np.ndarray, **changes: Any) -> ProxyScores:
    values = np.array(lines)
    asked = changes.pop("asked", np.ones_like(values, dtype=bool))
    named = {"space": "a:B", "dataset": "cifar10", "teacher": "", "repeats": 1, "images": 64, **changes}
    return ProxyScores(proxy=proxy, seeds=tuple(range(len(lines))), values=values, asked=asked, seconds=0.1, **named)


def test_failures_rank_last_together_and_are_counted():
    values = np.arange(N, dtype=float)
    values[[5, 7]] = np.nan, -np.inf
    found = statistics_of({"a": entry("a", values)}, TARGET)
    # Two failures share the ranks 1 and 2; the ten others follow.
    assert found.shares["a"][[5, 7]].tolist() == [1.5 / N, 1.5 / N]
    assert found.shares["a"][[0, 11]].tolist() == [3 / N, 1.0]
    assert found.failed == {"a": 2}


def test_only_architectures_that_all_were_asked_about():
    asked = np.ones((1, N), dtype=bool)
    asked[0, :2] = False
    found = statistics_of({"a": entry("a", SIZE), "b": entry("b", -SIZE, asked=asked)}, TARGET)
    assert found.rows.tolist() == list(range(2, N))
    assert found.shares["b"].tolist() == [(10 - n) / 10 for n in range(10)]


def test_several_seeds_count_by_their_mean_rank():
    # Of three: ranks 1 2 3 and 3 1 2, their means 2, 1.5 and 2.5.
    one = entry("a", np.array([0.1, 0.2, 0.9]), np.array([5.0, 1.0, 2.0]))
    np.testing.assert_allclose(shares_of(one, np.arange(3)), [2 / 3, 1 / 3, 1])


def test_the_targets_images_go_before_those_of_the_search():
    entries = [entry("a", SIZE, dataset=name) for name in ("cifar10", "cifar100", "imagenet16")]
    assert chosen_entries(entries, TARGET, "cifar10")["a"].dataset == "cifar100"
    assert chosen_entries(entries[::2], TARGET, "imagenet16")["a"].dataset == "imagenet16"
    assert set(chosen_entries(entries, TARGET, "cifar10")) == {"a", "params", "macs"}


def test_scores_made_in_two_ways_are_refused():
    entries = [entry("a", SIZE), entry("a", SIZE, images=32)]
    with pytest.raises(ResultError, match="a was scored in two ways on cifar10"):
        chosen_entries(entries, TARGET, "cifar10")
