"""Samplers over tables propose what their twins in `automl_kd.samplers` propose after the same outcomes.

A small table, a history that a sampler over tables made by itself, and then the exact distribution of the next
proposal, over all outcomes of the draws, on both sides. `gp`, `asha`, `halving` and `scalarised` have no twin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
from torch import nn

from automl_kd.nasbench.samplers import Bench, Guidance, explore, make_table_sampler
from automl_kd.nasbench.samplers.batched_session import BatchedSession
from automl_kd.nasbench.samplers.draws import SeededDraws
from automl_kd.nasbench.samplers.tpe import BatchedTPE, log_density, split_trials
from automl_kd.samplers import Exhausted, Feasible, Sampler, Screened, SearchObjective, make_sampler
from automl_kd.space import Architecture, Choice, Parameter, Scalar, SearchSpace
from automl_kd.spec import Outcome
from tests.nasbench.samplers.branches import Branch, BranchingDraws, BranchingGenerator, distribution

EDGES, OPERATIONS = 2, 3
NAMES = [f"edge{edge}" for edge in range(EDGES)]
SPACE = SearchSpace(
    name="grid",
    source="nine points",
    parameters={name: Parameter(Choice(tuple(range(OPERATIONS)))) for name in NAMES},
    build=lambda values, shape: nn.Identity(),
    default=dict.fromkeys(NAMES, 0),
)
MODULES = ("random_search", "aging_evolution", "local_search", "nsga2")
ACCURACY = SearchObjective("val_accuracy", maximise=True)
LATENCY = SearchObjective("latency", maximise=False)
ONE = Guidance(tries=1)
UNIFORM = dict.fromkeys(range(OPERATIONS**EDGES), Fraction(1, OPERATIONS**EDGES))
HISTORIES = range(5)
"""Seeds of tables and histories."""


def grid(seed: int) -> Bench:
    """All nine points, with distinct accuracies and latencies in random order."""
    encodings = np.array(np.unravel_index(np.arange(OPERATIONS**EDGES), [OPERATIONS] * EDGES), dtype=np.uint8).T
    apart = (encodings[:, None] != encodings[None]).sum(axis=2)
    rng = np.random.default_rng(seed)
    return Bench(
        encodings=encodings,
        neighbours=np.stack([np.flatnonzero(line == 1) for line in apart]),
        choose=(rng.permutation(len(encodings)) / 10,),
        seconds=(np.ones(len(encodings)),),
        latency=rng.permutation(len(encodings)).astype(np.float64),
    )


def history_of(name: str, options: Mapping[str, Scalar], bench: Bench, seed: int, steps: int, guide: Guidance) -> Any:
    """What the sampler over the table asks about in its first `steps` steps, one or more."""
    return explore(make_table_sampler(name, options), bench, [seed], steps, guidance=guide).rows[0].tolist()


def on_table(
    name: str, options: Mapping[str, Scalar], bench: Bench, seed: int, steps: int, guide: Guidance
) -> Mapping[int, Fraction]:
    """How likely the sampler over the table is to ask about each point next, after those steps."""

    def proposal(branch: Branch) -> int:
        session = BatchedSession(bench, BranchingDraws([seed], branch=branch, free=steps), steps + 1, guidance=guide)
        make_table_sampler(name, options).run(session)
        return int(session.history().rows[0, -1])

    return distribution(proposal)


def shipped(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Sampler], bench: Bench) -> Mapping[int, Fraction]:
    """How likely a sampler of `automl_kd.samplers` is to propose each point next; -1 for none."""

    def proposal(branch: Branch) -> int:
        for module in MODULES:
            monkeypatch.setattr(
                f"automl_kd.samplers.{module}.candidate_generator", lambda *_: BranchingGenerator(branch)
            )
        try:
            return row_of(bench, make().ask(99))
        except Exhausted:
            return -1

    return distribution(proposal)


def told_twin(
    name: str, options: Mapping[str, Scalar], bench: Bench, rows: Sequence[int], objectives: Sequence[SearchObjective]
) -> Sampler:
    """The sampler of `automl_kd.samplers` of this name, told what came of `rows`."""
    sampler = make_sampler(name, SPACE, objectives=objectives, seed=0, options=options)
    for index, row in enumerate(rows):
        sampler.tell(index, point(bench, row), outcome(bench, row))
    return sampler


def point(bench: Bench, row: int) -> Architecture:
    return Architecture.of(dict(zip(NAMES, bench.encodings[row].tolist(), strict=True)))


def row_of(bench: Bench, architecture: Architecture) -> int:
    values = architecture.as_dict()
    return int(bench.find(np.array([values[name] for name in NAMES])))


def outcome(bench: Bench, row: int) -> Outcome:
    assert bench.latency is not None
    metrics = {ACCURACY.name: float(bench.choose[0][row]), LATENCY.name: float(bench.latency[row])}
    return Outcome(status="complete", metrics=metrics, epoch=1)


@pytest.mark.parametrize("steps", [1, 4])
def test_random_search(monkeypatch, steps):
    bench = grid(0)
    other = told_twin("random", {}, bench, history_of("random", {}, bench, 0, steps, ONE), [ACCURACY])
    assert on_table("random", {}, bench, 0, steps, ONE) == shipped(monkeypatch, lambda: other, bench) == UNIFORM


@pytest.mark.parametrize("options", [{"population": 3, "tournament": 2}, {"population": 2, "tournament": 3}])
@pytest.mark.parametrize("seed", HISTORIES)
def test_evolution(monkeypatch, options, seed):
    bench = grid(seed)
    # from before the population is full until the first ones are dead
    for steps in range(options["population"] - 1, 8):
        rows = history_of("evolution", options, bench, seed, steps, ONE)
        twin = ("evolution", options, bench, rows, [ACCURACY])
        found = on_table("evolution", options, bench, seed, steps, ONE)
        assert found == shipped(monkeypatch, partial(told_twin, *twin), bench), steps
        assert (found == UNIFORM) == (steps < options["population"])


@pytest.mark.parametrize("seed", HISTORIES)
def test_local_search_until_it_knows_all_neighbours_of_its_best(monkeypatch, seed):
    # Then the one over tables begins elsewhere; the twin begins elsewhere now and then, which `restart` turns off.
    bench, guide = grid(seed), Guidance()
    compared = 0
    for steps in range(1, 9):
        rows = history_of("local", {}, bench, seed, steps, guide)
        best = max(rows, key=lambda row: bench.choose[0][row])
        if set(bench.neighbours[best].tolist()) <= set(rows):
            break
        twin = ("local", {"restart": 0.0}, bench, rows, [ACCURACY])
        alike = shipped(monkeypatch, partial(told_twin, *twin), bench)
        new = {row: share for row, share in alike.items() if row not in rows}
        found = on_table("local", {}, bench, seed, steps, guide)
        assert found == {row: share / sum(new.values()) for row, share in new.items()}
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("seed", HISTORIES[:3])
def test_nsga2_at_the_end_of_a_generation(monkeypatch, seed):
    # Over tables the parents change with each generation, in the twin with each outcome.
    bench, options = grid(seed), {"population": 2, "crossover": 0.5}
    other = told_twin("nsga2", options, bench, history_of("nsga2", options, bench, seed, 4, ONE), [ACCURACY, LATENCY])
    assert on_table("nsga2", options, bench, seed, 4, ONE) == shipped(monkeypatch, lambda: other, bench)


@pytest.mark.parametrize("told", [10, 40, 150])
def test_tpe_takes_the_same_point_of_all(told):
    # Among so many draws all nine points are, and the ratio of densities alone decides. Answers are random, so that the
    # ratios lie close together; where the first two hardly differ, rounding would decide, and nothing is compared.
    sampler, bench, compared = BatchedTPE(startup=10, candidates=2000), grid(0), 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows, values = rng.integers(len(bench), size=(1, told)), rng.random((1, told))
        session = BatchedSession(bench, SeededDraws([seed]), told + 1, guidance=ONE)
        session.step = told
        split = split_trials(bench.encodings[rows], values)
        good, other = (log_density(bench.encodings[None], part, session)[0] for part in split)
        second, first = np.sort(good - other)[-2:]
        if first - second > 1e-4:
            twin = make_sampler("tpe", SPACE, objectives=[ACCURACY], seed=0, options=asdict(sampler))
            for index, (row, value) in enumerate(zip(rows[0].tolist(), values[0].tolist(), strict=True)):
                metrics = {ACCURACY.name: value}
                twin.tell(index, point(bench, row), Outcome(status="complete", metrics=metrics, epoch=1))
            assert [row_of(bench, twin.ask(told))] == sampler.candidates_of(session, rows, values)[0].tolist()
            compared += 1
    assert compared >= 15


@pytest.mark.parametrize(("steps", "random"), [(4, True), (5, False)])
def test_tpe_begins_after_as_many_random_proposals(steps, random):
    bench = grid(0)
    assert (on_table("tpe", {"startup": 5, "candidates": 1}, bench, 0, steps, ONE) == UNIFORM) == random
    rows = history_of("tpe", {"startup": 5}, bench, 0, steps, ONE)
    other = told_twin("tpe", {"startup": 5, "candidates": 2000}, bench, rows, [ACCURACY])
    assert (len({other.ask(steps + index) for index in range(20)}) > 1) == random


def test_the_first_new_one_of_several_candidates(monkeypatch):
    bench, rows, tries = grid(0), [4, 7], 2

    def proposal(branch: Branch) -> int:
        session = BatchedSession(bench, BranchingDraws([0], branch=branch, free=0), 3, guidance=Guidance(tries=tries))
        for row in rows:
            session.query(np.array([row]))
        return int(session.fresh()[0])

    found, known = distribution(proposal), [point(bench, row) for row in rows]
    inner = told_twin("random", {}, bench, rows, [ACCURACY])
    alike = shipped(monkeypatch, lambda: Feasible(inner, lambda one: one not in known, attempts=tries), bench)
    new = [row for row in found if row not in rows]
    assert {row: found[row] for row in new} == {row: share for row, share in alike.items() if row >= 0}
    # Where both candidates are known, the one over tables repeats the first, and the twin has none.
    assert sum(found[row] for row in rows) == alike[-1] == Fraction(4, 81)


def test_the_best_scored_one_of_a_pool(monkeypatch):
    bench, score = grid(0), np.random.default_rng(1).permutation(9).astype(np.float64)
    inner = told_twin("random", {}, bench, [], [ACCURACY])

    def promise(candidates: Sequence[Architecture]) -> list[float]:
        return [float(score[row_of(bench, one)]) for one in candidates]

    found = on_table("random", {}, bench, 0, 0, Guidance(score=score, pool=3))
    assert found == shipped(monkeypatch, lambda: Screened(inner, promise, pool=3), bench)
    # the best of nine is among three draws unless none of them is it
    assert found[int(score.argmax())] == 1 - Fraction(8, 9) ** 3
