"""Searches of a table: what every searcher promises, and what each of them claims."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_kd.errors import ConfigError
from automl_kd.nasbench.samplers import NOTHING, TABLE_SAMPLERS, Bench, Guidance, explore, make_table_sampler
from automl_kd.nasbench.samplers.batched_session import BatchedSession
from automl_kd.nasbench.samplers.draws import SeededDraws

EDGES, OPERATIONS = 4, 4
SEEDS = (0, 1, 2, 7)


def make_bench(rng_seed: int = 0, noise: float = 0.02, rungs: int = 1) -> Bench:
    """All 256 combinations; accuracy is mostly the share of edges that hold operation 3, plus noise."""
    encodings = np.array(np.unravel_index(np.arange(OPERATIONS**EDGES), [OPERATIONS] * EDGES), dtype=np.uint8).T
    rng = np.random.default_rng(rng_seed)
    truth = 0.1 + 0.8 * (encodings == 3).mean(axis=1)
    choose = tuple(truth + noise * rng.standard_normal(len(truth)) for _ in range(rungs))
    apart = (encodings[:, None] != encodings[None]).sum(axis=2)
    neighbours = np.stack([np.flatnonzero(line == 1) for line in apart])
    seconds = tuple(np.full(len(truth), 10.0**rung) for rung in range(1, rungs + 1))
    return Bench(
        encodings=encodings,
        neighbours=neighbours,
        choose=choose,
        seconds=seconds,
        latency=1.0 + encodings.sum(axis=1),
    )


def bench_for(kind: str) -> Bench:
    return make_bench(rungs=2 if kind in {"asha", "halving"} else 1)


GUIDES = {
    "alone": Guidance(),
    "screened": Guidance(score=make_bench(5).choose[0], pool=5, seconds=0.5),
    "warm": Guidance(score=make_bench(5).choose[0], warm=4, sample=30),
    "repeats": Guidance(tries=1),
}


@pytest.mark.parametrize("guide", GUIDES.values(), ids=GUIDES)
@pytest.mark.parametrize("kind", TABLE_SAMPLERS)
class TestEverySearcher:
    def test_a_seed_runs_alike_whatever_runs_beside_it(self, kind, guide):
        bench, searcher = bench_for(kind), make_table_sampler(kind, {})
        together = explore(searcher, bench, SEEDS, 40, guidance=guide)
        alone = explore(searcher, bench, [7], 40, guidance=guide)
        for both, one in zip(together, alone, strict=True):
            np.testing.assert_array_equal(np.asarray(both)[3], np.asarray(one)[0])
        assert len({tuple(line) for line in together.rows.tolist()}) == len(SEEDS)

    def test_it_does_not_read_what_it_did_not_ask_for(self, kind, guide):
        bench, searcher = bench_for(kind), make_table_sampler(kind, {})
        asked = explore(searcher, bench, [3], 40, guidance=guide)
        unknown = np.ones((len(bench.choose), len(bench)), dtype=bool)
        unknown[asked.rungs[0], asked.rows[0]] = False
        falsified = tuple(
            np.where(hidden, 1 - values, values) for hidden, values in zip(unknown, bench.choose, strict=True)
        )
        other = Bench(
            encodings=bench.encodings,
            neighbours=bench.neighbours,
            choose=falsified,
            seconds=bench.seconds,
            latency=bench.latency,
        )
        np.testing.assert_array_equal(explore(searcher, other, [3], 40, guidance=guide).rows, asked.rows)

    def test_time_ends_each_seed_by_itself(self, kind, guide):
        bench, searcher = bench_for(kind), make_table_sampler(kind, {})
        limit = 15 * bench.seconds[-1][0]
        cut = explore(searcher, bench, SEEDS, 200, seconds=limit, guidance=guide)
        working = cut.rows != NOTHING
        before = np.concatenate([np.zeros((len(SEEDS), 1)), cut.seconds[:, :-1]], axis=1)
        np.testing.assert_array_equal(working, before < limit)
        assert (cut.seconds[:, -1] >= limit).all() or cut.rows.shape[1] == 200

    def test_everything_asked_is_in_the_space(self, kind, guide):
        history = explore(make_table_sampler(kind, {}), bench_for(kind), SEEDS, 40, guidance=guide)
        assert history.rows.shape == history.seconds.shape == history.scored.shape == (len(SEEDS), 40)
        assert history.rows.min() >= 0
        assert history.rows.max() < OPERATIONS**EDGES
        assert (np.diff(history.seconds, axis=1) >= 0).all()


def best_after(kind: str, queries: int, guidance: Guidance | None = None) -> float:
    bench = bench_for(kind)
    history = explore(make_table_sampler(kind, {}), bench, range(60), queries, guidance=guidance)
    return float(bench.choose[-1][history.rows].max(axis=1).mean())


@pytest.mark.parametrize("kind", ["local", "evolution", "tpe", "gp"])
def test_what_learns_beats_random_search(kind):
    assert best_after(kind, 40) > best_after("random", 40) + 0.03


@pytest.mark.parametrize("kind", ["random", "evolution", "tpe", "gp", "local"])
def test_a_good_score_helps_early(kind):
    score = make_bench(0, noise=0.2).choose[0]
    plain = best_after(kind, 8)
    assert best_after(kind, 8, Guidance(score=score, pool=10)) > plain + 0.03
    assert best_after(kind, 8, Guidance(score=score, warm=4, sample=50)) > plain + 0.03


class TestDraws:
    def test_uniform_numbers_look_uniform(self):
        drawn = SeededDraws(range(50)).uniform("x", 3, 400)
        assert drawn.min() >= 0
        assert drawn.max() < 1
        # 20,000 numbers in ten bins: 2,000 each, with a standard deviation of 42
        counts = np.histogram(drawn, bins=10, range=(0, 1))[0]
        assert abs(counts - 2000).max() < 5 * 42

    def test_streams_steps_and_seeds_differ(self):
        draws = SeededDraws([0, 1])
        found = [draws.uniform("x", 0, 3), draws.uniform("y", 0, 3), draws.uniform("x", 1, 3)]
        assert len({value for one in found for value in one.ravel().tolist()}) == 18

    @given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5, unique=True), st.integers(1, 50))
    @settings(max_examples=25, deadline=None)
    def test_integers_stay_below(self, seeds, below):
        drawn = SeededDraws(seeds).integers("x", 2, below, 20)
        assert drawn.min() >= 0
        assert drawn.max() < below


class TestBench:
    def test_an_encoding_is_found_where_it_stands(self):
        bench = make_bench()
        np.testing.assert_array_equal(bench.find(bench.encodings), np.arange(len(bench)))

    def test_what_does_not_run_is_slowest(self):
        bench = make_bench()
        assert bench.latency is not None
        latency = np.where(np.arange(len(bench)) == 9, np.nan, bench.latency)
        other = Bench(
            encodings=bench.encodings,
            neighbours=bench.neighbours,
            choose=bench.choose,
            seconds=bench.seconds,
            latency=latency,
        )
        # 1 + 4 * 3 = 13 is the slowest that runs
        assert other.losses[9, 1] == 26

    def test_columns_of_other_lengths_are_refused(self):
        bench = make_bench()
        with pytest.raises(ValueError, match="one length"):
            Bench(
                encodings=bench.encodings,
                neighbours=bench.neighbours,
                choose=(np.zeros(3),),
                seconds=bench.seconds,
            )


class TestDesk:
    def test_a_known_question_costs_a_question_but_no_time(self):
        session = BatchedSession(make_bench(), SeededDraws([0, 1]), 3)
        for rows in ([4, 4], [4, 5], [5, 5]):
            session.query(np.array(rows))
        # ten seconds for each architecture: 4 and 5 for the first seed after three questions, likewise the second
        np.testing.assert_array_equal(session.history().seconds, [[10, 10, 20], [10, 20, 20]])

    def test_a_promotion_is_trained_from_the_start(self):
        session = BatchedSession(make_bench(rungs=2), SeededDraws([0]), 2)
        session.query(np.array([4]), np.array([0], dtype=np.int8))
        session.query(np.array([4]))
        # 10 seconds for the short training, 100 for the long one
        np.testing.assert_array_equal(session.history().seconds, [[10, 110]])

    def test_the_best_new_candidate_of_a_pool_is_taken_and_its_scores_are_paid_for(self):
        score = -np.arange(256.0)
        score[0] = np.nan
        session = BatchedSession(
            make_bench(), SeededDraws([0]), 2, guidance=Guidance(score=score, pool=4, seconds=0.25)
        )
        candidates = np.array([[0, 7, 3, 9]])
        first = session.prefer(candidates)
        session.query(first)
        second = session.prefer(candidates)
        session.query(second)
        # the scores are nan, -7, -3, -9
        assert (first[0], second[0]) == (3, 7)
        history = session.history()
        np.testing.assert_array_equal(history.scored, [[4, 8]])
        np.testing.assert_array_equal(history.seconds, [[11, 22]])

    def test_a_warm_start_takes_the_best_of_its_sample_in_order(self):
        score = np.arange(256.0)
        guidance = Guidance(score=score, warm=3, sample=40)
        session = BatchedSession(make_bench(), SeededDraws([0]), 3, guidance=guidance)
        sample = np.unique(session.draws.integers("warm", 0, 256, 40))
        asked = [int(rows[0]) for rows in (warm_question(session) for _ in range(3))]
        assert asked == sorted(sample.tolist())[-3:][::-1]
        assert session.history().scored[0].tolist() == [40, 40, 40]

    def test_random_search_asks_nothing_twice(self):
        history = explore(make_table_sampler("random", {}), make_bench(), range(10), 60)
        assert all(len(set(line)) == 60 for line in history.rows.tolist())

    def test_a_pool_needs_a_score(self):
        with pytest.raises(ValueError, match="needs a score"):
            Guidance(pool=3)


def warm_question(session: BatchedSession) -> np.ndarray:
    rows = session.fresh()
    session.query(rows)
    return rows


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("evolutoin", {}, "no sampler of tables is called 'evolutoin'; did you mean 'evolution'?"),
        ("evolution", {"populaton": 3}, "has no option 'populaton'; did you mean 'population'?"),
        ("random", {"population": 3}, "has no option 'population'; it has none"),
        ("evolution", {"population": 3.5}, "is 3.5; write it as int"),
        ("evolution", {"population": 0}, "cannot run: population and tournament must be 1 or more"),
        ("nsga2", {"crossover": 2.0}, "cannot run: crossover must lie in 0 to 1"),
    ],
)
def test_searchers_refuse_in_a_sentence(name, options, said):
    with pytest.raises(ConfigError) as caught:
        make_table_sampler(name, options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
