"""Many nodes on one machine, some of which are lost all the time: every trial must be done, once."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from ray.cluster_utils import Cluster

from automl_kd.cluster.sessions.session import session
from automl_kd.cluster.tune_runner import run_trials
from automl_kd.cluster.tune_searcher import Assignment, Curve
from automl_kd.config import Resources
from automl_kd.results import Point, ResultTable, Row
from automl_kd.space import Architecture
from automl_kd.spec import DataSpec, Outcome, Recipe, TrialPaths, TrialSpec

EPOCHS = 3

ATTEMPTS = 10


class Losses:
    """Nodes that are killed at random epochs of random trials, and replaced a few epochs later.

    From the thread that Tune calls back in, the only one in which Ray starts nodes; workers are wherever they are.
    """

    def __init__(self, cluster: Cluster, nodes: int, losses: int, epochs: int, rng: np.random.Generator) -> None:
        self.cluster, self.rng = cluster, rng
        self.nodes: list[Any] = []
        for _ in range(nodes):
            self.add()
        chosen = rng.choice(np.arange(nodes, epochs - 2 * nodes), size=losses, replace=False)
        self.kills = {int(one) for one in chosen}
        self.births = Counter(int(one + rng.integers(1, 2 * nodes)) for one in chosen)
        self.seen = self.lost = 0

    def __call__(self, *_: object) -> None:
        """An epoch was reported."""
        self.seen += 1
        if self.seen in self.kills and self.nodes:
            node = self.nodes.pop(int(self.rng.integers(len(self.nodes))))
            self.cluster.remove_node(node, allow_graceful=False)
            self.lost += 1
            print(f"node {self.lost} of {len(self.kills)} lost, {len(self.nodes)} left", flush=True)
        for _birth in range(self.births[self.seen]):
            self.add()

    def add(self) -> None:
        """One more node; Ray gives a node 30 seconds to come up, which a busy machine does not always make."""
        for attempt in range(ATTEMPTS):
            try:
                self.nodes.append(self.cluster.add_node(num_cpus=1))
            except Exception as error:  # Ray raises bare exceptions here
                print(f"a node did not come up, attempt {attempt + 1}: {str(error).splitlines()[0][:80]}", flush=True)
            else:
                return


def spec(seed: int) -> TrialSpec:
    return TrialSpec(
        space="tests.faults.subject:SPACE",
        architecture=Architecture.of({"width": 8, "depth": 1}),
        method="tests.faults.subject:Nap",
        data=DataSpec(name="tests.faults.subject:images"),
        recipe=Recipe(epochs=EPOCHS),
        seed=seed,
    )


def row(one: TrialSpec, outcome: Outcome) -> Row:
    return Row(
        trial_kind="search",
        role="search",
        key=one.key,
        proposal=one.seed,
        status=outcome.status,
        error=outcome.error or None,
        failure_kind=outcome.failure_kind,
        space=one.space,
        architecture_id=one.architecture.key,
        values_json="{}",
        student="nap",
        method=one.method,
        options_json="{}",
        dataset=one.data.name,
        seed=one.seed,
        epochs=EPOCHS,
        epochs_done=outcome.epoch,
        val_accuracy=outcome.metrics.get("val_accuracy"),
        started=datetime.now(UTC),
        experiment="scale",
    )


def scale(trials: int, nodes: int, losses: int, seed: int, root: Path) -> list[str]:
    """Carry out `trials` on `nodes` nodes of one CPU of which `losses` are lost; what went wrong."""
    specs = {one.key: one for one in map(spec, range(trials))}
    order = list(specs.values())
    table, told, begun = ResultTable(root), Counter[str](), time.monotonic()

    def ask(index: int) -> Assignment | None:
        if index >= len(order):
            return None
        paths = TrialPaths(trial=root / "trials" / order[index].key, teachers=root / "teachers", data=root / "data")
        return Assignment(spec=order[index], paths=paths)

    def on_outcome(one: TrialSpec, outcome: Outcome, curve: Curve) -> None:
        told[one.key] += 1
        points = [Point(epoch=epoch, val_accuracy=metrics["val_accuracy"]) for epoch, metrics in sorted(curve.items())]
        table.append(row(one, outcome), points)
        if len(told) % 20 == 0:
            print(f"{time.monotonic() - begun:.0f} s: {len(told)} of {trials} trials ended", flush=True)

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        hit = Losses(cluster, nodes, losses, EPOCHS * trials, np.random.default_rng(seed))
        cluster.wait_for_nodes()
        with session(cluster.address):
            run_trials(
                ask,
                on_epoch=hit,
                on_outcome=on_outcome,
                resources=Resources(device="cpu", retries=50),
                search=None,
                epochs=EPOCHS,
                scratch=root,
            )
    finally:
        cluster.shutdown()
    attempts = sum(attempts_of(root / "trials" / key) for key in specs)
    print(
        f"{trials} trials on {nodes} nodes, {hit.lost} nodes lost, {attempts - trials} more attempts than trials, "
        f"{time.monotonic() - begun:.0f} s"
    )
    return faults(table, specs, told)


def attempts_of(trial: Path) -> int:
    path = trial / "attempts"
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def faults(table: ResultTable, specs: dict[str, TrialSpec], told: Counter[str]) -> list[str]:
    rows, curves = table.read(), table.curves()
    found = [f"trial {key} ended {count} times" for key, count in told.items() if count != 1]
    found += [f"trial {key} was lost" for key in specs if key not in set(rows["key"])]
    found += [
        f"trial {row['key']} is {row['status']}: {row['error']}"
        for row in rows[rows["status"] != "complete"].to_dict("records")
    ]
    if len(rows) != len(specs) or rows["key"].duplicated().any():
        found.append(f"{len(rows)} rows for {len(specs)} trials")
    if len(curves) != EPOCHS * len(specs) or curves.duplicated(["key", "epoch"]).any():
        found.append(f"{len(curves)} epochs for {len(specs)} trials of {EPOCHS}")
    wrong = [
        key
        for key, value in zip(rows["key"], rows["val_accuracy"], strict=True)
        if value != specs[key].seed / 1000 * EPOCHS / EPOCHS
    ]
    return found + [f"trial {key} measured something else" for key in wrong]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--losses", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scale-") as root:
        chosen = (arguments.trials, arguments.nodes, arguments.losses, arguments.seed)
        found = scale(*chosen, Path(root) / "scale")
    for line in found:
        print(f"VIOLATION {line}")
    print(f"{len(found)} violations")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
