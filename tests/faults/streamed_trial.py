"""A trial that streams its images in a process of its own, and what it logs of each step."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.methods import run_trial
from automl_kd.spec import TrialPaths, TrialSpec
from automl_kd.training.training_run import TrainingRun
from tests.training.streamed_batches import digest

CHECKPOINT_SECONDS = 1.0
"""Between two checkpoints inside an epoch."""


@dataclass(frozen=True)
class Step:
    """A line of a trial's log: the batch's epoch, number and digest, when it was made, and who decoded it."""

    epoch: int
    number: int
    digest: str
    at: float
    decoder: int

    @property
    def place(self) -> tuple[int, int]:
        return self.epoch, self.number


class StreamedTrial:
    """One trial in a folder, carried out by processes of which each may be killed."""

    def __init__(self, spec: TrialSpec, root: Path, name: str) -> None:
        self.spec, self.root, self.folder = spec, root, root / name
        self.folder.mkdir(parents=True)

    def start(self) -> BaseProcess:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        process = context.Process(target=carry_out, args=(self.spec.to_json(), self.root, self.folder))
        process.start()
        return process

    def log(self) -> list[Step]:
        """Whole lines."""
        return [Step(**record) for record in records(self.folder / "steps.jsonl")]

    def reported(self) -> dict[int, Mapping[str, float]]:
        return {record["epoch"]: record["metrics"] for record in records(self.folder / "reports.jsonl")}


def records(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def carry_out(spec: str, root: Path, folder: Path) -> None:
    """Train, or go on, and log every batch before its step is taken."""
    torch.set_num_threads(1)
    real = TrainingRun.batch

    def batch(self: TrainingRun, rows: Tensor, epoch: int, *number: int) -> Batch:
        found = real(self, rows, epoch, *number)
        streamed = self.dataset.train.streamed
        assert streamed is not None
        decoders = [getattr(one.source, "process", 0) for one in streamed.readers.values() if one.source]
        step = Step(epoch, number[0], digest(found), time.monotonic(), max(decoders, default=0))
        append(folder / "steps.jsonl", vars(step))
        return found

    def report(metrics: Mapping[str, float], *, epoch: int) -> None:
        append(folder / "reports.jsonl", {"epoch": epoch, "metrics": dict(metrics)})

    TrainingRun.batch = batch  # type: ignore[method-assign]
    paths = TrialPaths(trial=folder / "trial", teachers=root / "teachers", data=root / "data")
    run_trial(TrialSpec.from_json(spec), report, replace(paths, checkpoint_minutes=CHECKPOINT_SECONDS / 60))


def append(path: Path, record: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
