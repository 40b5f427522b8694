"""Training-free evolution by a score, beside evolution by training, and the cost of each.

The claim under test: Dong, Li, Wei. DisWOT: Student Architecture Search for Distillation WithOut Training. 2023.
arXiv:2303.15678, abstract: at least 180 times faster than search with training. Its released procedure for this space
is aging evolution with population 36, tournament 8 and 1,000 scores, and compares the five best of the history by
benchmark test accuracy; here they are compared by the accuracy to choose by, and their trainings are paid for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from automl_kd.nasbench.config import TrainingFree
from automl_kd.nasbench.samplers import BatchedHistory, Bench, Guidance, explore
from automl_kd.nasbench.samplers.evolution import Evolution
from automl_kd.nasbench.samplers.random_search import Random
from automl_kd.nasbench.table.columns import Integers
from automl_kd.nasbench.table.score_column import ScoreColumn
from automl_kd.nasbench.table_search import regret
from automl_kd.nasbench.table_search.preparation import Ready


def by_score(task: Ready, settings: TrainingFree, seeds: Sequence[int], score: ScoreColumn | None) -> pd.DataFrame:
    """The result of each seed's training-free search; None takes `top` random architectures."""
    if score is None:
        rows = explore(Random(), task.bench(""), seeds, settings.top).rows
        return trained_outcome(task, seeds, rows, np.zeros(len(seeds), dtype=np.int64), 0.0)
    history = explore(
        evolution(settings), without_training(task, score), seeds, settings.trials, guidance=Guidance(tries=1)
    )
    scored = np.array([len(np.unique(rows)) for rows in history.rows])
    return trained_outcome(task, seeds, best_by_score(history.rows, score, settings.top), scored, score.seconds)


def evolution(settings: TrainingFree) -> Evolution:
    return Evolution(population=settings.population, tournament=settings.tournament, parents=settings.parents)


def without_training(task: Ready, score: ScoreColumn) -> Bench:
    """The space with the score in place of an accuracy; what has none is worst."""
    bench = task.bench("")
    lowest = np.nanmin(score.values) - 1
    return Bench(
        encodings=bench.encodings,
        neighbours=bench.neighbours,
        choose=(np.nan_to_num(score.values, nan=lowest),),
        seconds=(np.zeros(len(bench)),),
    )


def best_by_score(rows: Integers, score: ScoreColumn, top: int) -> Integers:
    """The `top` distinct architectures of each line with the best scores, of equals the earlier."""
    found = []
    for line in rows:
        distinct = line[np.sort(np.unique(line, return_index=True)[1])]
        best = distinct[np.argsort(-score.values[distinct], kind="stable")][:top]
        found.append(np.resize(best, top))
    return np.stack(found)


def trained_outcome(
    task: Ready, seeds: Sequence[int], rows: Integers, scored: Integers, seconds_each: float
) -> pd.DataFrame:
    """Of the trained `rows` (seeds, trained) the one with the best accuracy to choose by, and all costs."""
    chosen = task.by.choosing.prefer(rows)
    cost = task.table.seconds_of(task.by.choosing)
    frame = regret.curve_frame(seeds, [0.0], chosen[:, None], task.by, "")
    return frame.assign(
        scored=scored,
        score_seconds=scored * seconds_each if scored.any() else 0.0,
        trained=rows.shape[1],
        train_seconds=cost[rows].sum(axis=1),
    )


def by_training(task: Ready, settings: TrainingFree, seeds: Sequence[int]) -> tuple[pd.DataFrame, BatchedHistory]:
    """The same evolution by the accuracy to choose by; a repeated trial is not trained again."""
    bench = task.bench("")
    history = explore(evolution(settings), bench, seeds, settings.trials, guidance=Guidance(tries=1))
    held = regret.incumbents(history.rows, history.rungs, [task.by.choosing])[:, -1:]
    frame = regret.curve_frame(seeds, [0.0], held, task.by, "")
    trained = np.array([len(np.unique(rows)) for rows in history.rows])
    spent = history.seconds[:, -1]
    return frame.assign(scored=0, score_seconds=0.0, trained=trained, train_seconds=spent), history


def time_to_target(
    task: Ready, settings: TrainingFree, seeds: Sequence[int], found: pd.DataFrame
) -> dict[str, float | None]:
    """For each score in `found`, after how much simulated time half of the training evolutions were as good.

    As good: an incumbent with a test regret of at most the score's median. None if half of them never were.
    """
    _, history = by_training(task, settings, seeds)
    held = regret.incumbents(history.rows, history.rungs, [task.by.choosing])
    losses = task.by.reporting.regret(held)
    times = {}
    for name, ours in found[found["search"] != ""].groupby("search", observed=True):
        enough = losses <= float(ours["regret"].median()) + 1e-12
        first = np.where(enough.any(axis=1), history.seconds[np.arange(len(held)), enough.argmax(axis=1)], np.inf)
        median = float(np.quantile(first, 0.5, method="higher"))
        times[str(name)] = None if np.isinf(median) else median
    return times
