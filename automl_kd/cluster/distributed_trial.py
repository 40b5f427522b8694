"""A trial of several workers: a Ray Train run inside its Tune trial.

The Tune trial launches the workers and passes on what they report. It asks for next to no resources itself: Tune does
not set any aside for the workers, so trials that held more would wait for each other. Workers and launcher share a
`ReportExchange`, an actor that keeps the main process waiting until Tune has decided about its report: so a scheduler
ends a trial of many workers exactly where it would end one of a single process. Ray Train keeps no checkpoints of ours:
the main process writes them under the trial's key, and all read them there.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

import ray
import torch
from ray import train, tune
from ray.train.torch import TorchTrainer, get_device
from ray.util.placement_group import PlacementGroup, get_current_placement_group, remove_placement_group

from automl_kd.cluster.failures import PASSING, failure_kind_of, limited, lost_device, overdue
from automl_kd.cluster.last_epoch import complete_report
from automl_kd.cluster.tune_searcher import Failure, Metrics, from_config
from automl_kd.errors import StopTrial
from automl_kd.methods import run_trial

LISTEN_SECONDS = 0.5
"""How often the launcher looks whether its workers are still there."""

GRACE_SECONDS = 3.0
"""How long a worker that failed stays: if it failed because another one died, the death is noticed before."""

DEATH = Failure("a worker process died (killed, crashed or out of memory)", "died")


class ReportExchange:
    """Passes reports of the main process to the launcher and decisions back, and the failures of all workers."""

    def __init__(self) -> None:
        self.reports: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.decisions: asyncio.Queue[bool] = asyncio.Queue()
        self.errors: dict[int, Failure] = {}

    async def report(self, metrics: dict[str, Any]) -> bool:
        """Whether the trial goes on."""
        await self.reports.put(metrics)
        return await self.decisions.get()

    async def next(self) -> dict[str, Any]:
        return await self.reports.get()

    async def decide(self, goes_on: bool) -> None:
        await self.decisions.put(goes_on)

    async def fail(self, rank: int, failure: Failure) -> None:
        self.errors[rank] = failure

    async def failures(self) -> dict[int, Failure]:
        """Failures of workers, by their number, in the order in which they were reported."""
        return self.errors


class Rooms:
    """The placement groups that workers were given, by trial, to be given back when it has ended.

    Ray Train does so itself unless its launcher is killed, as happens when a scheduler ends the trial or a machine is
    lost. Then it relies on an actor for each trial that asks the dashboard; a private Ray has none, and neither the
    places nor these actors would ever be free again.
    """

    def __init__(self) -> None:
        self.taken: dict[str, list[PlacementGroup]] = {}

    def take(self, trial: str, room: PlacementGroup) -> None:
        self.taken.setdefault(trial, []).append(room)

    def free(self, trial: str) -> None:
        for room in self.taken.pop(trial, []):
            remove_placement_group(room)


def make_rooms() -> Any:
    """Kept by an actor that belongs to the driver."""
    return ray.remote(num_cpus=0)(Rooms).remote()


def work_together(config: Mapping[str, Any]) -> None:
    """Run one worker of a trial. Its failure goes to the exchange, and ends the other workers as well."""
    assignment, exchange = from_config(config), config["exchange"]
    torch.set_num_threads(int(config["threads"]))
    if (device := get_device()).type == "cuda":
        torch.cuda.set_device(device)

    def report(metrics: Metrics, *, epoch: int) -> None:
        whole = complete_report(assignment, metrics, epoch)
        if not ray.get(exchange.report.remote(whole)) or epoch == assignment.until:
            raise StopTrial

    rank = train.get_context().get_world_rank()
    if rank == 0:
        ray.get(config["rooms"].take.remote(assignment.spec.key, get_current_placement_group()))
    try:
        with limited(assignment.paths.trial, config["timeout"] if rank == 0 else 0.0):
            run_trial(assignment.spec, report, assignment.paths)
    except StopTrial:
        return
    except Exception as error:
        if lost_device(error):
            raise
        ray.get(exchange.fail.remote(rank, Failure(f"{type(error).__name__}: {error}", failure_kind_of(error))))
        time.sleep(GRACE_SECONDS)
        raise


def launch(config: Mapping[str, Any]) -> None:
    """The Tune trial: carry it out by workers, again from its checkpoint when one died, and report for them."""
    failure = DEATH
    ray.get(config["rooms"].free.remote(from_config(config).spec.key))  # of a launcher that was killed
    for _ in range(1 + config["retries"]):
        exchange = ray.remote(num_cpus=0)(ReportExchange).remote()
        run = Workers(config, exchange)
        pass_on(exchange, run)
        if run.error is None:
            return
        if late := overdue(from_config(config).paths.trial):
            failure = Failure(late, "timeout")
            break
        failures: dict[int, Failure] = ray.get(exchange.failures.remote())
        # A worker that failed without a reported reason was killed; others then fail because it is gone.
        explained = failures and set(getattr(run.error, "worker_failures", failures)) <= set(failures)
        failure = next(iter(failures.values())) if explained else DEATH
        if explained and failure.failure_kind not in PASSING:
            break
    tune.report(failure._asdict())


class Trainer(TorchTrainer):  # type: ignore[misc]  # ray is untyped here
    """Without the actor that `Rooms` replaces."""

    def _create_default_callbacks(self) -> list[Any]:
        found = super()._create_default_callbacks()
        return [one for one in found if type(one).__name__ != "PlacementGroupCleanerCallback"]


class Workers(threading.Thread):
    """The Ray Train run; `error` is what ended it, or None."""

    def __init__(self, config: Mapping[str, Any], exchange: Any) -> None:
        super().__init__(daemon=True)
        self.error: Exception | None = None
        self.trainer = Trainer(
            work_together,
            train_loop_config={**config, "exchange": exchange},
            scaling_config=train.ScalingConfig(
                num_workers=config["workers"],
                use_gpu=config["each"].get("GPU", 0) > 0,
                resources_per_worker=config["each"],
                placement_strategy=config["placement"],
            ),
            run_config=train.RunConfig(name=f"train-{uuid.uuid4().hex[:8]}", storage_path=config["storage"]),
        )
        self.start()

    def run(self) -> None:
        try:
            self.trainer.fit()
        except Exception as error:  # whatever it is, the launcher decides what to make of it
            self.error = error


def pass_on(exchange: Any, run: Workers) -> None:
    """Pass the main process's reports to Tune until the run has ended. If Tune ends the trial, stop the workers."""
    report = exchange.next.remote()
    while run.is_alive():
        ready, _ = ray.wait([report], timeout=LISTEN_SECONDS)
        if not ready:
            continue
        goes_on = False
        try:
            tune.report(ray.get(report))
            goes_on = True
        finally:  # Tune ends a trial by an exit out of its report
            exchange.decide.remote(goes_on)
        report = exchange.next.remote()
