"""What single searchers of a table claim, by hand and against other implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from automl_kd.errors import ConfigError
from automl_kd.nasbench.samplers import Guidance, explore, make_table_sampler
from automl_kd.nasbench.samplers import gaussian_process as gp
from automl_kd.nasbench.samplers.batched_session import BatchedSession
from automl_kd.nasbench.samplers.draws import SeededDraws
from automl_kd.nasbench.samplers.nsga2 import crowding, front_numbers
from automl_kd.nasbench.samplers.tpe import BatchedTPE, log_density, mixture
from automl_kd.samplers import SearchObjective
from automl_kd.samplers.pareto import crowding_distance, non_dominated_ranks
from automl_kd.samplers.tpe import TPE as OptunaTPE
from automl_kd.space import Architecture, Choice, Parameter, SearchSpace
from automl_kd.spec import Outcome
from tests.nasbench.samplers.test_sessions import EDGES, OPERATIONS, make_bench


class TestEvolution:
    def test_a_child_is_a_mutant_of_the_best_that_lives(self):
        # a tournament of 200 among 4 leaves none out, but for one case in 10^24
        bench = make_bench()
        searcher = make_table_sampler("evolution", {"population": 4, "tournament": 200})
        rows = explore(searcher, bench, range(5), 30, guidance=Guidance(tries=1)).rows
        for line in rows:
            for step in range(4, 30):
                living = line[step - 4 : step]
                parent = living[bench.choose[0][living].argmax()]
                assert line[step] in bench.neighbours[parent]

    def test_the_parent_may_be_one_of_the_best(self):
        bench = make_bench()
        options = {"population": 4, "tournament": 200, "parents": 200}
        rows = explore(make_table_sampler("evolution", options), bench, range(5), 30, guidance=Guidance(tries=1)).rows
        parents = {"best": 0, "other": 0}
        for line in rows:
            for step in range(4, 30):
                living = line[step - 4 : step]
                assert any(line[step] in bench.neighbours[one] for one in living)
                best = living[bench.choose[0][living].argmax()]
                parents["best" if line[step] in bench.neighbours[best] else "other"] += 1
        assert parents["other"] > 10


class TestLocalSearch:
    @pytest.mark.parametrize("first", [True, False])
    def test_it_climbs_a_single_hill(self, first):
        # no noise: every cell but the best has a better neighbour, and has 12 in all, so that 4 steps up are enough
        bench = make_bench(noise=0.0)
        history = explore(make_table_sampler("local", {"first": first}), bench, range(20), 1 + 4 * 12)
        assert (bench.choose[0][history.rows].max(axis=1) == bench.choose[0].max()).all()

    def test_all_neighbours_come_before_the_best_of_them(self):
        bench = make_bench()
        (rows,) = explore(make_table_sampler("local", {"first": False}), bench, [0], 14).rows
        start, around, following = rows[0], rows[1:13], rows[13]
        assert set(around) == set(bench.neighbours[start])
        best = around[bench.choose[0][around].argmax()]
        if bench.choose[0][best] > bench.choose[0][start]:
            assert following in bench.neighbours[best]


class TestHalving:
    def test_the_best_of_a_bracket_get_a_long_training(self):
        bench = make_bench(rungs=2)
        history = explore(make_table_sampler("halving", {"width": 4, "reduction": 2}), bench, range(3), 12)
        np.testing.assert_array_equal(history.rungs, [[0, 0, 0, 0, 1, 1] * 2] * 3)
        for line in history.rows:
            order = sorted(line[:4], key=lambda row: -bench.choose[0][row])
            assert line[4:6].tolist() == order[:2]

    def test_asha_promotes_whoever_is_due(self):
        bench, reduction = make_bench(rungs=2), 3
        history = explore(make_table_sampler("asha", {"reduction": reduction}), bench, range(3), 60)
        for rows, rungs in zip(history.rows.tolist(), history.rungs, strict=True):
            started: list[int] = []
            promoted: set[int] = set()
            for row, rung in zip(rows, rungs, strict=True):
                # algorithm 2: of the best len / reduction, the best that is not promoted yet
                top = sorted(started, key=lambda one: -bench.choose[0][one])[: len(started) // reduction]
                due = [one for one in top if one not in promoted]
                assert rung == bool(due)
                if due:
                    assert row == due[0]
                    promoted.add(row)
                else:
                    started.append(row)

    def test_one_length_of_training_is_refused(self):
        with pytest.raises(ConfigError, match="needs a short training"):
            explore(make_table_sampler("asha", {}), make_bench(), [0], 5)


class TestTPE:
    def test_a_density_by_hand(self):
        # One point: kernels of the point and of the prior, weight 1/2 each. n + 1 = 2, so an operation has 1/2 added,
        # and of 1 + 4/2 = 3 the own has 3/2, another 1/2: 1/2 and 1/6. Three of four edges agree:
        # 1/2 * (1/2)^3 * 1/6 + 1/2 * (1/4)^4
        weights, own, other = mixture(1, 4)
        np.testing.assert_allclose([*weights, own, other], [0.5, 0.5, 0.5, 1 / 6])
        session = BatchedSession(make_bench(), SeededDraws([0]), 1)
        point, drawn = np.array([[[0, 1, 2, 3]]], dtype=np.uint8), np.array([[[0, 1, 2, 2]]], dtype=np.uint8)
        np.testing.assert_allclose(np.exp(log_density(drawn, point, session)), [[1 / 96 + 1 / 512]], rtol=1e-5)

    def test_densities_sum_to_one(self):
        bench = make_bench()
        session = BatchedSession(bench, SeededDraws([0]), 1)
        points = bench.encodings[None, 30:70]
        everything = bench.encodings[None]
        np.testing.assert_allclose(np.exp(log_density(everything, points, session)).sum(), 1.0, rtol=1e-4)

    @pytest.mark.slow
    def test_it_proposes_what_optuna_proposes(self):
        # the same 40 outcomes for both; then 1,500 proposals against 800 of Optuna's, edge by edge. A share of 1/2
        # among 800 has a standard deviation of 0.018, among 1,500 of 0.013: 0.08 is more than three of both.
        bench = make_bench(noise=0.1)
        rows = np.random.default_rng(1).permutation(len(bench))[:40]
        session = BatchedSession(bench, SeededDraws(range(1500)), 60, guidance=Guidance(tries=1))
        session.step = 40
        told = np.tile(rows, (1500, 1))
        ours = bench.encodings[BatchedTPE().candidates_of(session, told, bench.choose[0][told])[:, 0]]
        theirs = np.array([optuna_proposal(bench, rows, index) for index in range(800)])
        for edge in range(EDGES):
            shares = [np.bincount(found[:, edge], minlength=OPERATIONS) / len(found) for found in (ours, theirs)]
            np.testing.assert_allclose(shares[0], shares[1], atol=0.08)
        pairs = [
            np.bincount(found[:, 0] * OPERATIONS + found[:, 1], minlength=16) / len(found) for found in (ours, theirs)
        ]
        np.testing.assert_allclose(pairs[0], pairs[1], atol=0.08)


def optuna_proposal(bench, rows, index):
    names = [f"edge{edge}" for edge in range(EDGES)]
    space = SearchSpace(
        name="toy",
        parameters={name: Parameter(Choice(tuple(range(OPERATIONS)))) for name in names},
        build=lambda values, shape: torch.nn.Identity(),
        source="of this test",
        default=dict.fromkeys(names, 0),
    )
    sampler = OptunaTPE(space, (SearchObjective("val_accuracy", maximise=True),), seed=index)
    for number, row in enumerate(rows):
        values = dict(zip(names, bench.encodings[row].tolist(), strict=True))
        metrics = {"val_accuracy": float(bench.choose[0][row])}
        outcome = Outcome(status="complete", metrics=metrics, epoch=1)
        sampler.tell(number, Architecture.of(values), outcome)
    found = sampler.ask(len(rows)).as_dict()
    return [found[name] for name in names]


class TestGaussianProcess:
    def test_a_posterior_by_hand(self):
        # one answer y at a, noise 1/10; b differs in 2 edges, scale 4: k = exp(-1/2)
        # mean k y / 1.1, variance 1 - k^2 / 1.1; at a itself k = 1
        bench = make_bench()
        session = BatchedSession(bench, SeededDraws([0]), 1)
        a, b = (int(bench.find(np.array(cell))) for cell in ([0, 1, 2, 3], [0, 1, 3, 2]))
        mean, variance = gp.posterior(
            session,
            np.array([[a]]),
            np.array([[0.7]]),
            np.array([[a, b]]),
            scale=np.array([4.0]),
            noise=np.array([0.1]),
        )
        k = np.array([1.0, np.exp(-0.5)])
        np.testing.assert_allclose(mean[0], k * 0.7 / 1.1)
        np.testing.assert_allclose(variance[0], 1 - k**2 / 1.1)

    def test_the_likelihood_is_that_of_a_normal_distribution(self):
        rng = np.random.default_rng(0)
        root = rng.standard_normal((3, 5, 5))
        covariance = root @ root.transpose(0, 2, 1) + np.eye(5)
        scores = rng.standard_normal((3, 5))
        ours = gp.log_likelihood(covariance, scores)
        theirs = [multivariate_normal(cov=one).logpdf(y) for one, y in zip(covariance, scores, strict=True)]
        np.testing.assert_allclose(ours - 2.5 * np.log(2 * np.pi), theirs)

    def test_expected_improvement_is_what_sampling_gives(self):
        mean, variance, best = np.array([[0.3, -1.0]]), np.array([[0.5, 2.0]]), np.array([0.6])
        samples = mean + np.sqrt(variance) * np.random.default_rng(0).standard_normal((400_000, 1))
        wanted = np.maximum(samples - best[0], 0).mean(axis=0)
        np.testing.assert_allclose(gp.expected_improvement(mean, variance, best)[0], wanted, rtol=0.02)

    def test_normal_scores_keep_the_order(self):
        # quantiles 1/6, 1/2, 5/6 of the normal distribution: -0.967, 0, 0.967
        scores = gp.normal_scores(np.array([[0.9, 0.1, 0.5]]))
        np.testing.assert_allclose(scores, [[0.9674, -0.9674, 0.0]], atol=1e-4)


class TestNSGA2:
    @given(st.integers(0, 2**32), st.integers(2, 12))
    @settings(max_examples=40, deadline=None)
    def test_fronts_and_crowding_are_those_of_the_proposer(self, seed, count):
        # distinct values: at equal ones, which of them is at the end of a front is a matter of order
        rng = np.random.default_rng(seed)
        losses = np.stack([np.stack([rng.permutation(count), rng.permutation(count)], axis=1) for _ in range(3)]) * 1.0
        rank = front_numbers(losses)
        distance = crowding(losses, rank)
        for line, points in enumerate(losses):
            np.testing.assert_array_equal(rank[line], non_dominated_ranks(points))
            for front in range(rank[line].max() + 1):
                ours = rank[line] == front
                if ours.sum() > 1:
                    np.testing.assert_allclose(distance[line, ours], crowding_distance(points[ours]))

    def test_equal_points_share_a_front(self):
        losses = np.array([[[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]]])
        np.testing.assert_array_equal(front_numbers(losses), [[0, 0, 1]])

    def test_it_finds_more_of_the_front_than_random_search(self):
        bench = make_bench(noise=0.0)
        # without noise accuracy and latency depend on how many edges hold operation 3 and on the sum of the others:
        # the front has k edges with operation 3, the others operation 0, for k = 0 to 4
        front = {int(bench.find(np.array(cell))) for cell in itertools.product((0, 3), repeat=EDGES)}
        found = {
            kind: np.mean(
                [
                    len({int(bench.encodings[row].sum()) for row in set(line) & front})
                    for line in explore(make_table_sampler(kind, {}), bench, range(30), 80).rows.tolist()
                ]
            )
            for kind in ("random", "nsga2", "scalarised")
        }
        assert found["nsga2"] > found["random"] + 0.5
        assert found["scalarised"] > found["random"] + 0.3
