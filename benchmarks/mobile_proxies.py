"""Which zero-cost proxies rank the students of `mobile` beyond what they cost?

Run it from the project's root: `python -m benchmarks.mobile_proxies TABLE SCORES`. TABLE is what mobile_students.py
wrote. SCORES, a Parquet file, is written if it is missing: every proxy on the same students at 64 pixels, with random
teachers as in their papers and, marked "trained", with the trained one. Printed is, for students taught and not taught,

- Spearman's correlation of each proxy with test accuracy, over all students, beyond params and multiply-adds (partial),
  and within the window of one cost; the noise is that of twelve students with three seeds;
- how many trainings it takes to train the best student when they are trained in the order of the proxies, over those of
  random search: 1,000 times 40 students are drawn, the best rank sum of up to three proxies is chosen on the other 20,
  and the place of the best of the 40 in its order is compared with the mean place at random.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from automl_kd import files
from automl_kd.config import load_experiment
from automl_kd.experiment.context import Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.stages.proxy_filter import make_probes
from automl_kd.nasbench.proxy_benchmark.rank_correlation import partial_spearman, spearman
from automl_kd.proxies import PROXIES
from automl_kd.proxies.score import score_architectures
from automl_kd.results.sheet import Column, Sheet
from automl_kd.space import Architecture
from benchmarks.mobile_students import EXPERIMENT

IMAGES, SEED = 64, 0
DRAWN, ROUNDS, MEMBERS = 40, 1000, 3
CANDIDATES = 10
"""Proxies of which combinations are made: the best alone on the students on which a combination is chosen."""

Reals = NDArray[np.float64]


def write_scores(table: pd.DataFrame, out: Path, changes: Sequence[str], work: Path) -> None:
    experiment = load_experiment(EXPERIMENT, changes)
    context = prepare_experiment(experiment, Roots(results=work, data=work / "data"), Silent())
    distinct = table.drop_duplicates("architecture_id")
    students = [Architecture.of(json.loads(text)) for text in distinct["values_json"]]
    rows = []
    for teacher, names in (
        ("random", list(PROXIES)),
        ("trained", [name for name, entry in PROXIES.items() if entry.needs_teacher]),
    ):
        weights = Path(context.experiment.teacher.checkpoint) if teacher == "trained" else None
        probes = make_probes(
            context.dataset, names, context.experiment.teacher, images=IMAGES, draws=1, seed=SEED, weights=weights
        )
        for one in score_architectures(context.space, students, names, probes, seed=SEED):
            name = one.proxy if teacher == "random" else f"{one.proxy}, trained"
            score = {"proxy": name, "score": one.value, "seconds": one.seconds, "error": one.error}
            rows.append({"architecture_id": one.architecture.key, **score})
    with files.replacing(out) as scratch:
        pd.DataFrame(rows).to_parquet(scratch, index=False)


def correlations(scores: pd.DataFrame, trained: pd.DataFrame) -> pd.DataFrame:
    """A line for each proxy that scores all students. `trained`: one row for each student, as `scores` has columns."""
    accuracy = trained["test_accuracy"].to_numpy()
    costs = np.log(trained[["params", "macs"]].to_numpy(dtype=float))
    window = (trained["group"] == "window").to_numpy()
    lines = []
    for name, column in scores.items():
        x = column.to_numpy()
        beyond = partial_spearman(x, accuracy, costs)
        lines.append((name, spearman(x, accuracy), beyond, spearman(x[window], accuracy[window])))
    frame = pd.DataFrame(lines, columns=["proxy", "all", "beyond params and macs", "within the window"])
    return frame.sort_values("beyond params and macs", ascending=False, ignore_index=True)


def trainings_needed(scores: pd.DataFrame, accuracy: Reals, rng: np.random.Generator) -> Iterator[float]:
    """The best student's place in the order of the proxies, over its mean place at random, for each draw."""
    ranks = scores.rank().to_numpy()
    for _ in range(ROUNDS):
        order = rng.permutation(len(accuracy))
        held, chosen = order[:DRAWN], order[DRAWN:]
        alone = [spearman(ranks[chosen, place], accuracy[chosen]) for place in range(ranks.shape[1])]
        best = np.argsort(np.nan_to_num(alone, nan=-1.0))[-CANDIDATES:]
        sums = [
            ranks[:, list(members)].sum(axis=1)
            for count in range(1, MEMBERS + 1)
            for members in itertools.combinations(best, count)
        ]
        combined = max(sums, key=lambda one: spearman(one[chosen], accuracy[chosen]))
        place = int((combined[held] >= combined[held][accuracy[held].argmax()]).sum())
        yield place / ((DRAWN + 1) / 2)


def markdown(frame: pd.DataFrame) -> str:
    columns = tuple(Column(str(name), numeric=place > 0) for place, name in enumerate(frame.columns))
    rows = tuple((str(name), *map(signed, values)) for name, *values in frame.itertuples(index=False))
    return Sheet(columns, rows).to_markdown()


def signed(value: float) -> str:
    """Empty for what costs do not leave over of themselves."""
    return "" if np.isnan(value) else f"{value:+.3f}"


def noise(table: pd.DataFrame) -> float:
    """The standard deviation of test accuracy over seeds, pooled over students."""
    spread = table.groupby("architecture_id")["test_accuracy"].var().dropna()
    return float(np.sqrt(spread.mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", type=Path, help="what mobile_students.py wrote")
    parser.add_argument("scores", type=Path, help="the Parquet file of scores, written if it is missing")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--work", type=Path, default=Path("results"), help="scratch folder (default: results)")
    options = parser.parse_args()
    table = pd.read_parquet(options.table)
    if not options.scores.exists():
        write_scores(table, options.scores, options.changes, options.work.absolute())
    long = pd.read_parquet(options.scores)
    wide = long.pivot(index="architecture_id", columns="proxy", values="score").dropna(axis=1)
    for method, rows in table.groupby("method"):
        first = rows[rows["seed"] == 0].set_index("architecture_id")
        scores = wide.loc[first.index]
        scores = scores.loc[:, scores.nunique() > 1]
        spread = f"accuracy {first['test_accuracy'].std():.4f} over students, {noise(rows):.4f} over seeds"
        print(f"\n## {method}: {len(first)} students, {spread}\n\n{markdown(correlations(scores, first))}\n")
        if len(first) > DRAWN:
            shares = list(trainings_needed(scores, first["test_accuracy"].to_numpy(), np.random.default_rng(SEED)))
            low, middle, high = np.quantile(shares, (0.25, 0.5, 0.75))
            print(f"trainings to the best student over random search's: {middle:.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
