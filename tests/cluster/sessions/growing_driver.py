"""A driver on a cluster that begins with a head of no processors; each trial waits for others, so that some meet.

    python -m tests.cluster.sessions.growing_driver FOLDER

Machines are pretended ones on this machine, with a GPU that is none. What happened is printed as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from automl_kd.cluster.sessions import growing
from automl_kd.cluster.sessions.private import at_loopback, token_of_its_own
from automl_kd.cluster.tune_runner import run_trials
from automl_kd.cluster.tune_searcher import Assignment, Curve
from automl_kd.config import Resources
from automl_kd.spec import Outcome, TrialSpec
from tests import tiny

MACHINE = {"num_cpus": 1, "num_gpus": 1, "include_log_monitor": False}


def main(folder: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cluster.connect()
    asked: list[list[dict[str, float]]] = []
    said: list[str] = []
    ended: list[str] = []
    begun: list[float] = []
    joined: list[bool] = []
    most = 0

    def tell(text: str) -> None:
        """The first machine comes when it is waited for; Ray starts machines in the main thread alone."""
        said.append(text)
        cluster.add_node(**MACHINE)

    def on_epoch(*_: object) -> None:
        """The second comes when a trial has begun on the first."""
        if not joined:
            joined.append(True)
            cluster.add_node(**MACHINE)

    def ask(index: int) -> Assignment | None:
        nonlocal most
        if index == 4:
            return None
        begun.append(time.monotonic())
        most = max(most, len(begun) - len(ended))
        spec = tiny.spec(width=index + 2, options={"seconds": 1.0})
        return Assignment(spec=spec, paths=tiny.place(folder, spec))

    def on_outcome(_spec: TrialSpec, outcome: Outcome, _curve: Curve) -> None:
        ended.append(outcome.status)

    patched: Any = growing
    patched.grows = lambda: True
    patched.request_resources = lambda bundles: asked.append(bundles)
    run_trials(
        ask,
        on_epoch=on_epoch,
        on_outcome=on_outcome,
        resources=Resources(),
        search=None,
        epochs=3,
        scratch=folder,
        trials=4,
        say=tell,
    )
    print(json.dumps({"asked": asked, "said": said, "ended": ended, "most": most}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    with token_of_its_own(), at_loopback():
        main(Path(sys.argv[1]))
