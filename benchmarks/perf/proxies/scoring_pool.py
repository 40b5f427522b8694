"""The scoring pool on two workers over one, on cells of NAS-Bench-201 of which some cost ten times as much as others.

Run it from the project's root: `python -m benchmarks.perf.proxies.scoring_pool [--cells 240] [--rounds 3]`.

Batches of eight random cells, 64 noise images of CIFAR's size, proxies that run forward and backward. By the clock,
from the beginning of the first batch to the end of the last, as the workers see it: without their start. *Idle tail*:
how long before that end the worker ran out of work that did so first. Needs two processors that do nothing else.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import ray
import torch

from automl_kd.cluster import scoring_pool
from automl_kd.cluster.scoring_pool import ArchitectureBatch, ScoringTask, Worker, score_on_workers
from automl_kd.cluster.sessions.private import private_ray
from automl_kd.cluster.sessions.session import QUIET
from automl_kd.experiment.stages.scoring import BATCH
from automl_kd.proxies.probe import make_probe
from automl_kd.proxies.scorer import Readings
from automl_kd.space import InputShape
from benchmarks.perf.proxies.diswot import draw
from search_spaces import nasbench201

SHAPE = InputShape(channels=3, height=32, width=32, classes=10)
IMAGES, SEED = 64, 0
PROXIES = ("grad_norm", "naswot")
LIMIT = 1.8
FOLDER = "AUTOML_KD_PERF_SPANS"
"""The variable by which workers are told where to leave their times."""


class Timed(Worker):
    """A worker that notes when each batch began and ended; what it needs for all of them is made before."""

    def read(self, held: Sequence[ray.ObjectRef[ScoringTask]], batch: ArchitectureBatch) -> list[Readings]:
        super().read(held, [])
        begun = time.time()
        found = super().read(held, batch)
        with (Path(os.environ[FOLDER]) / str(os.getpid())).open("a") as file:
            file.write(f"{begun} {time.time()}\n")
        return found


class Ran(NamedTuple):
    """Seconds of all batches, and of the idle tail."""

    seconds: float
    tail: float


def measured(
    task: ScoringTask, batches: Sequence[ArchitectureBatch], workers: int, folder: Path
) -> tuple[Ran, list[list[Readings]]]:
    for file in folder.iterdir():
        file.unlink()
    with patch.object(scoring_pool, "Worker", Timed):
        found = dict(score_on_workers(task, batches, workers, gpus=0.0))
    spans = [[tuple(map(float, line.split())) for line in file.read_text().splitlines()] for file in folder.iterdir()]
    assert len(spans) == workers
    ends = [own[-1][1] for own in spans]
    begun = min(own[0][0] for own in spans)
    return Ran(max(ends) - begun, max(ends) - min(ends)), [found[number] for number in range(len(batches))]


def values(found: list[list[Readings]]) -> list[float]:
    return [draw[name].value for batch in found for one in batch for draw in one for name in PROXIES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=240, help="architectures (default: 240)")
    parser.add_argument("--rounds", type=int, default=3, help="runs with one and with two workers (default: 3)")
    options = parser.parse_known_args()[0]
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randn(IMAGES, SHAPE.channels, SHAPE.height, SHAPE.width, generator=generator)
    labels = torch.randint(SHAPE.classes, (IMAGES,), generator=generator)
    task = ScoringTask(
        "search_spaces.nasbench201:SPACE", PROXIES, [make_probe(images, labels, SHAPE, None, seed=SEED)], SEED
    )
    cells = draw(nasbench201.SPACE, options.cells)
    batches = [cells[start : start + BATCH] for start in range(0, len(cells), BATCH)]
    ratios, tails = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, {FOLDER: folder}),
        private_ray(num_cpus=2, **QUIET),
    ):
        for number in range(options.rounds):
            order = (1, 2) if number % 2 else (2, 1)
            ran = {workers: measured(task, batches, workers, Path(folder)) for workers in order}
            assert values(ran[1][1]) == values(ran[2][1])
            ratios.append(ran[1][0].seconds / ran[2][0].seconds)
            tails.append(ran[2][0].tail / ran[2][0].seconds)
            print(f"one worker {ran[1][0].seconds:.2f} s, two {ran[2][0].seconds:.2f} s, tail {ran[2][0].tail:.2f} s")
    spread_of = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"{len(cells)} cells: two workers are {statistics.median(ratios):.2f} times one ({spread_of}, limit {LIMIT})")
    print(f"idle tail: {statistics.median(tails):.1%} of the time (largest {max(tails):.1%})")


if __name__ == "__main__":
    main()
