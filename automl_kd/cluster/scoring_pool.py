"""Architectures scored in batches on a pool of Ray actors, one processor or a share of a GPU each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import ray
import torch

from automl_kd.cluster.card import keep_to
from automl_kd.cluster.sessions.machines import amounts, described, fit
from automl_kd.cluster.sessions.session import machines, session
from automl_kd.errors import ConfigError, TrialError
from automl_kd.models import load_space
from automl_kd.proxies.probe import Probe
from automl_kd.proxies.scorer import Readings, Scorer
from automl_kd.space import Architecture

ArchitectureBatch = Sequence[Architecture]
TAIL = 2
"""This many of the last batches per worker are scored one architecture at a time."""

RESTARTS = 3
"""Restarts of a worker that died."""


@dataclass(frozen=True, eq=False)
class ScoringTask:
    """The task of every worker: names, which it looks up again, and images."""

    space: str
    proxies: tuple[str, ...]
    probes: Sequence[Probe]
    seed: int

    def scorer(self, device: str) -> Scorer:
        probes = [probe.to(device) for probe in self.probes]
        return Scorer(load_space(self.space), self.proxies, probes, seed=self.seed)


class Worker:
    """One thread of the processor, or a share of a GPU."""

    scorer: Scorer | None = None

    def read(self, held: Sequence[ray.ObjectRef[ScoringTask]], batch: ArchitectureBatch) -> list[Readings]:
        """`held`: the task, which is fetched once; as an argument of its own it would be copied for each batch."""
        if self.scorer is None:
            torch.set_num_threads(1)
            keep_to(ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0))
            task: ScoringTask = ray.get(held[0])
            self.scorer = task.scorer("cuda" if ray.get_gpu_ids() else "cpu")
        found = self.scorer(batch)
        self.scorer.known.clear()  # the driver sends each function once
        return found


def readings(
    task: ScoringTask, batches: Sequence[ArchitectureBatch], *, workers: int, gpus: float = 0.0, address: str = ""
) -> Iterator[tuple[int, list[Readings]]]:
    """Yield the number of each batch and its scores, as they are done, in any order.

    `workers`: 1 works in this process; more are actors of the Ray at `address` (see `session`), with `gpus` each, and
    no more than it has room for. A worker that dies is started again, and its batch is done once more; `TrialError`
    if that does not help. `ConfigError` if there is no room or no GPU.
    """
    if workers == 1 or len(batches) == 1:
        yield from score_in_process(task, batches, gpus)
        return
    with session(address):
        yield from score_on_workers(task, batches, min(workers, count_scoring_workers(gpus)), gpus)


def score_in_process(
    task: ScoringTask, batches: Sequence[ArchitectureBatch], gpus: float
) -> Iterator[tuple[int, list[Readings]]]:
    """One thread, as in a worker: the number of threads moves the last digits of sums."""
    if gpus and not torch.cuda.is_available():
        raise ConfigError(f"a share of {gpus:g} GPUs was asked for and this machine has none; leave --gpus out")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        scorer = task.scorer("cuda" if gpus else "cpu")
        for number, batch in enumerate(batches):
            yield number, scorer(batch)
    finally:
        torch.set_num_threads(threads)


def count_scoring_workers(gpus: float) -> int:
    """How many workers the Ray has place for; `ConfigError` if for none."""
    each, there = {"CPU": 1.0, **({"GPU": gpus} if gpus else {})}, machines()
    if not (found := fit(each, there)):
        raise ConfigError(
            f"a worker asks for {amounts(each)}, but Ray has no machine with as many: {described(there)}; lower --gpus "
            "or leave it out"
        )
    return found


class PieceOfWork(NamedTuple):
    """What a worker reads at a time: a batch, or one architecture of it at `place`."""

    number: int
    place: int
    architectures: ArchitectureBatch


def split_batches(batches: Sequence[ArchitectureBatch], workers: int) -> list[PieceOfWork]:
    """The batches in order, the last of them one architecture at a time.

    Architectures cost unlike times: so when the last one is given out, no worker has much left to do.
    """
    whole = max(0, len(batches) - TAIL * workers)
    pieces = [PieceOfWork(number, 0, batch) for number, batch in enumerate(batches[:whole])]
    last = enumerate(batches[whole:], start=whole)
    return pieces + [PieceOfWork(number, place, [one]) for number, batch in last for place, one in enumerate(batch)]


def score_on_workers(
    task: ScoringTask, batches: Sequence[ArchitectureBatch], workers: int, gpus: float
) -> Iterator[tuple[int, list[Readings]]]:
    """Each worker has one piece in hand and one waiting, so that none is idle while the driver writes."""
    kind = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=RESTARTS, max_task_retries=RESTARTS)(Worker)
    common = ray.put(task)
    pieces = split_batches(batches, workers)
    pool = [kind.remote() for _ in range(min(workers, len(pieces)))]
    left = iter(pieces)
    running: dict[ray.ObjectRef[list[Readings]], tuple[PieceOfWork, int]] = {}
    gathered: dict[int, dict[int, Readings]] = {}

    def give(worker: int) -> None:
        if (piece := next(left, None)) is not None:
            running[pool[worker].read.remote([common], piece.architectures)] = (piece, worker)

    for worker in [*range(len(pool)), *range(len(pool))]:
        give(worker)
    while running:
        (done, *_), _ = ray.wait(list(running), num_returns=1)
        piece, worker = running.pop(done)
        give(worker)
        try:
            found = ray.get(done)
        except ray.exceptions.RayActorError as error:
            raise TrialError(
                f"a worker died {RESTARTS + 1} times, perhaps for want of memory; what is done is on disk, so run the "
                "same command again with fewer --workers"
            ) from error
        batch = gathered.setdefault(piece.number, {})
        batch |= dict(enumerate(found, start=piece.place))
        if len(batch) == len(batches[piece.number]):
            yield piece.number, [batch[place] for place in range(len(batch))]
            del gathered[piece.number]
