"""Training from scratch in which one of several workers is killed, or fails, in the second epoch."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from automl_kd import distributed
from automl_kd.data import Batch
from automl_kd.methods.base import STEP, train
from automl_kd.spec import Report, TrialPaths, TrialSpec
from automl_kd.training import loop
from automl_kd.training.trial import prepare_trial


@dataclass(frozen=True)
class Struck:
    """`how`: what happens to the second worker; a killed one is spared when the trial is continued.

    The leader leaves a line with its epoch in `trial/epochs` whenever it begins one.
    """

    needs_teacher: ClassVar[bool] = False
    how: Literal["killed", "failed"] = "killed"

    def macs(self, student: int, teacher: int) -> int:
        return STEP * student

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        context, begun = prepare_trial(spec, paths), [0]
        loop.SAVE_SECONDS = 0.0
        paths.trial.mkdir(parents=True, exist_ok=True)

        def objective(batch: Batch) -> Mapping[str, Tensor]:
            if distributed.is_main_process() and batch.epoch > begun[0]:
                begun[0] = batch.epoch
                with (paths.trial / "epochs").open("a", encoding="utf-8") as file:
                    file.write(f"{batch.epoch}\n")
            if distributed.rank() == 1 and batch.epoch == 2:
                self.strike(paths)
            return {"ce": F.cross_entropy(context.student(batch.inputs), batch.labels)}

        train(context, objective, report, macs_per_image=self.macs(context.cost.macs, 0))

    def strike(self, paths: TrialPaths) -> None:
        if self.how == "failed":
            raise RuntimeError("this worker never works")
        if not (paths.trial / "struck").exists():
            (paths.trial / "struck").touch()
            os.kill(os.getpid(), signal.SIGKILL)
