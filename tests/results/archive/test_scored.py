"""Scored students: their rank by several proxies, and the best within limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from automl_kd.results.archive.limits import Limits
from automl_kd.results.archive.scored import read_scored, share_before
from automl_kd.results.store.scores import rank_architectures, read_scores
from tests.results.archive.made import proxies, write_archive
from tests.results.synthetic import score


def ranks(scored):
    return dict(zip(scored.students["architecture_id"], scored.rank, strict=True))


def test_shares_by_hand():
    # 5 is first of four, the two 3 share places two and three, 1 is last; the other group has one
    share = share_before(np.array([3.0, 5.0, 1.0, 3.0, 9.0]), np.array([0, 0, 0, 0, 1]))
    assert share.tolist() == [1.5 / 4, 0.0, 3 / 4, 1.5 / 4, 0.0]


def test_ranks_are_means_over_proxies_and_failures_come_last(tmp_path):
    rows = [*proxies(1, 1.0, 30.0), *proxies(2, 2.0, 10.0), *proxies(3, 3.0, None), *proxies(4, None, None)]
    scored = read_scored(write_archive(tmp_path / "a", scores=rows), [])
    assert scored.proxies == ("naswot", "synflow")
    assert scored.failed == 1
    assert ranks(scored) == {
        f"{1:012x}": pytest.approx((2 / 3 + 0) / 2),
        f"{2:012x}": pytest.approx((1 / 3 + 1 / 3) / 2),
        f"{3:012x}": pytest.approx((0 + 2 / 3) / 2),
    }


def test_scores_that_are_there_twice_count_once_and_those_of_seeds_are_averaged(tmp_path):
    folder = write_archive(tmp_path / "a", scores=[score("naswot", 1, 1.0), score("naswot", 2, 2.0)])
    write_archive(folder, scores=[score("naswot", 1, 1.0), score("naswot", 1, 9.0, seed=1)])
    write_archive(folder, scores=[score("naswot", 1, 1.0), score("naswot", 3, 4.0)])
    # of 1: (1 + 9) / 2 = 5, before 4 and 2; were 1.0 counted three times it would be 3
    assert ranks(read_scored(folder, [])) == {f"{1:012x}": 0.0, f"{3:012x}": 1 / 3, f"{2:012x}": 2 / 3}


def test_an_aggregate_counts_only_where_all_were_ranked_together(tmp_path):
    plain = [score("naswot", number, float(number)) for number in (1, 2, 3)]
    pools = [score("az_nas", number, float(-number), among=2) for number in (1, 2, 3)]
    scored = read_scored(write_archive(tmp_path / "a", scores=[*plain, *pools]), [])
    assert scored.proxies == ("naswot",)
    whole = [dataclasses.replace(one, among=3) for one in pools]
    assert read_scored(write_archive(tmp_path / "b", scores=[*plain, *whole]), []).proxies == ("az_nas", "naswot")


def best_of(scored, latencies=None, **limits):
    found = scored.best_within(Limits(**limits), latencies or {})
    return found and (found.architecture_id, found.student, dict(found.costs.by_name))


def test_the_best_within_limits(tmp_path):
    rows = [one for number in range(1, 9) for one in proxies(number, float(number), float(number))]
    scored = read_scored(write_archive(tmp_path / "a", scores=rows), ["digits"])
    assert best_of(scored)[0] == f"{8:012x}"
    costs = {"params": 5000, "macs": 500_000, "latency_ms": None, "size_mb": 0.02}
    assert best_of(scored, params=5500, macs=500_000) == (f"{5:012x}", "depth=5", costs)
    assert best_of(scored, params=999) is None
    latency = {("search_spaces.tiny:SPACE", f"{2:012x}"): 1.5}
    assert best_of(scored, latency, latency_ms=2)[2]["latency_ms"] == 1.5
    assert best_of(scored, latency, latency_ms=1) is None
    assert scored.count_unmeasured(latency) == 7
    assert len(read_scored(tmp_path / "a", ["cifar10"])) == 0


def test_ranks_are_those_of_the_ranking_of_scores(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 50, (300, 2)).astype(float)
    rows = [one for number, (a, b) in enumerate(values) for one in proxies(number, a, b)]
    scored = read_scored(write_archive(tmp_path / "a", scores=rows), [])
    frame = rank_architectures(read_scores(tmp_path / "a")).set_index("architecture_id")
    ours = {name: rank * 2 * 300 + 2 for name, rank in ranks(scored).items()}  # pandas counts places from 1
    theirs = frame["rank_sum"].to_dict()
    assert ours == {name: pytest.approx(value) for name, value in theirs.items()}
