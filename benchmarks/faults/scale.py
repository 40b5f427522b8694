"""Many nodes on one machine, some of which are lost all the time: every trial must be done, once."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from ray.cluster_utils import Cluster

from automl_kd.cluster.searcher import Assignment, Curve
from automl_kd.cluster.session import session
from automl_kd.cluster.tune_runner import run
from automl_kd.config import Resources
from automl_kd.results import Point, ResultTable, Row
from automl_kd.space import Architecture
from automl_kd.spec import DataSpec, Outcome, Place, Recipe, TrialSpec

EPOCHS = 3


@dataclasses.dataclass
class Losses:
    """Nodes that are killed at random, and replaced a little later, until `over` is set."""

    cluster: Cluster
    nodes: list[Any]
    rng: np.random.Generator
    most: int
    pause: float
    lost: int = 0
    over: threading.Event = dataclasses.field(default_factory=threading.Event)

    def __call__(self) -> None:
        while self.lost < self.most and not self.over.wait(self.rng.uniform(0.5, 1.5) * self.pause):
            node = self.nodes.pop(int(self.rng.integers(len(self.nodes))))
            self.cluster.remove_node(node, allow_graceful=False)
            self.lost += 1
            print(f"node {self.lost} of {self.most} lost", flush=True)
            if not self.over.wait(self.rng.uniform(0, self.pause)):
                self.nodes.append(self.cluster.add_node(num_cpus=1))


def spec(seed: int) -> TrialSpec:
    return TrialSpec(
        space="benchmarks.faults.subject:SPACE",
        architecture=Architecture.of({"width": 8, "depth": 1}),
        method="benchmarks.faults.subject:Nap",
        data=DataSpec(name="benchmarks.faults.subject:images"),
        recipe=Recipe(epochs=EPOCHS),
        seed=seed,
    )


def row(one: TrialSpec, outcome: Outcome) -> Row:
    return Row(
        run="search",
        role="search",
        key=one.key,
        proposal=one.seed,
        status=outcome.status,
        error=outcome.error or None,
        reason=outcome.reason,
        space=one.space,
        architecture=one.architecture.key,
        values_json="{}",
        label="nap",
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


def scale(trials: int, nodes: int, losses: int, pause: float, seed: int, root: Path) -> list[str]:
    """Carry out `trials` on `nodes` nodes of one CPU of which `losses` are lost; what went wrong."""
    specs = {one.key: one for one in map(spec, range(trials))}
    order = list(specs.values())
    table, told, begun = ResultTable(root), Counter[str](), time.monotonic()

    def ask(index: int) -> Assignment | None:
        if index >= len(order):
            return None
        place = Place(trial=root / "trials" / order[index].key, teachers=root / "teachers", data=root / "data")
        return Assignment(spec=order[index], place=place)

    def on_outcome(one: TrialSpec, outcome: Outcome, curve: Curve) -> None:
        told[one.key] += 1
        points = [Point(epoch=epoch, val_accuracy=metrics["val_accuracy"]) for epoch, metrics in sorted(curve.items())]
        table.append(row(one, outcome), points)
        if len(told) % 20 == 0:
            print(f"{time.monotonic() - begun:.0f} s: {len(told)} of {trials} trials ended", flush=True)

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        hit = Losses(
            cluster=cluster,
            nodes=[cluster.add_node(num_cpus=1) for _ in range(nodes)],
            rng=np.random.default_rng(seed),
            most=losses,
            pause=pause,
        )
        cluster.wait_for_nodes()
        with session(cluster.address):
            enemy = threading.Thread(target=hit, daemon=True)
            enemy.start()
            run(
                ask,
                on_epoch=lambda *_: None,
                on_outcome=on_outcome,
                resources=Resources(device="cpu", retries=50),
                search=None,
                epochs=EPOCHS,
                scratch=root,
            )
            hit.over.set()
            enemy.join()
    finally:
        cluster.shutdown()
    attempts = [len((root / "trials" / key / "attempts").read_text(encoding="utf-8").splitlines()) for key in specs]
    print(
        f"{trials} trials on {nodes} nodes, {hit.lost} nodes lost, {sum(attempts) - trials} trials begun again, "
        f"{time.monotonic() - begun:.0f} s"
    )
    return faults(table, specs, told)


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
        key for key, value in zip(rows["key"], rows["val_accuracy"], strict=True) if value != specs[key].seed / 1000
    ]
    return found + [f"trial {key} measured something else" for key in wrong]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--losses", type=int, default=10)
    parser.add_argument("--pause", type=float, default=3.0, help="mean seconds between a loss and the next event")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scale-") as root:
        found = scale(
            arguments.trials, arguments.nodes, arguments.losses, arguments.pause, arguments.seed, Path(root) / "scale"
        )
    for line in found:
        print(f"VIOLATION {line}")
    print(f"{len(found)} violations")
    sys.exit(1 if found else 0)
