"""What parents' weights save a search: `python -m benchmarks.weight_inheritance TABLE`.

Three searches of `weight_inheritance.toml` with other seeds, each without and with `search.inherit`, one after the
other below `--work`, where the same command goes on. Printed is for each pair how many multiply-adds the inheriting
search had trained, ancestors included, when it first reached the best validation accuracy of the other, over what
that one had trained until then, and over all that it trained. TABLE, a Parquet file, gets the trials of all six.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

import pandas as pd

import automl_kd as akd
from automl_kd import files

EXPERIMENT = Path(__file__).with_suffix(".toml")
SEEDS = (0, 1, 2)
COLUMNS = [
    *("experiment", "trial_kind", "role", "proposal", "key", "parent", "student", "params", "macs", "seed", "status"),
    *("train_macs", "ancestor_macs", "val_accuracy", "test_accuracy", "git_commit"),
]


def name_of(seed: int, *, inherit: bool) -> str:
    return f"weight_inheritance_{'inherited' if inherit else 'fresh'}_{seed}"


def course(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The trials of a search in order, with what was trained up to and with each of them and the best until then."""
    ours = rows[(rows["experiment"] == name) & (rows["trial_kind"] == "search")].sort_values("proposal")
    return ours.assign(trained=ours["train_macs"].fillna(0.0).cumsum(), best=ours["val_accuracy"].fillna(0.0).cummax())


def shares(rows: pd.DataFrame, seed: int) -> tuple[float, float]:
    """What the inheriting search had trained at the other's best, over what that one had then, and over all of it."""
    fresh, inherited = (course(rows, name_of(seed, inherit=inherit)) for inherit in (False, True))
    best = fresh["best"].iloc[-1]
    reached = inherited[inherited["best"] >= best]
    spent = float(reached["trained"].iloc[0]) if len(reached) else float("inf")
    return spent / float(fresh[fresh["best"] >= best]["trained"].iloc[0]), spent / float(fresh["trained"].iloc[-1])


def describe(rows: pd.DataFrame, name: str) -> str:
    found = rows[(rows["experiment"] == name) & (rows["role"] == "found-method")]["test_accuracy"].mean()
    return f"{name}: best on validation {course(rows, name)['best'].iloc[-1]:.1%}, trained anew {found:.1%} on test"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", type=Path, help="the Parquet file of all trials")
    parser.add_argument("--work", type=Path, default=Path("results"), help="root of results (default: results)")
    parser.add_argument("--images", default="", help="data.name of the experiment, where it lies elsewhere")
    options = parser.parse_args()
    names = [name_of(seed, inherit=inherit) for seed in SEEDS for inherit in (False, True)]
    for name in names:
        changes = {"name": name, "seed": int(name[-1]), "search.inherit": "inherited" in name}
        changes |= {"data.name": options.images} if options.images else {}
        akd.load_experiment(EXPERIMENT, changes).run(options.work)
    rows, _ = akd.read_results(options.work)
    rows = rows[rows["experiment"].isin(names)]
    with files.replacing(options.table) as scratch:
        rows[COLUMNS].to_parquet(scratch, index=False)
    found = [shares(rows, seed) for seed in SEEDS]
    for seed, (at_best, of_all) in zip(SEEDS, found, strict=True):
        print(f"seed {seed}: {at_best:.2f} of what the fresh search trained until its best, {of_all:.2f} of all")
    for name in names:
        print(describe(rows, name))
    print(f"medians: {median(one for one, _ in found):.2f} and {median(one for _, one in found):.2f}")


if __name__ == "__main__":
    main()
