"""A method that goes wrong in the way that its option names, so that workers can import it."""

from __future__ import annotations

import ctypes
import errno
from dataclasses import dataclass
from typing import ClassVar

import torch

from automl_kd.errors import DataError, DivergedError
from automl_kd.spec import Report, TrialPaths, TrialSpec
from tests import tiny


@dataclass(frozen=True)
class Faulty:
    """Three pretended epochs; `fault` happens in the second, `times` times over all attempts, which are counted."""

    needs_teacher: ClassVar[bool] = False
    fault: str = ""
    times: int = 99

    def macs(self, student: int, teacher: int) -> int:
        return 3 * student

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        paths.trial.mkdir(parents=True, exist_ok=True)
        with (paths.trial / "attempts").open("a", encoding="utf-8") as file:
            file.write("once more\n")
        attempt = tiny.lines(paths.trial / "attempts")
        for epoch in (1, 2, 3):
            if epoch == 2 and attempt <= self.times:
                go_wrong(self.fault)
            report(tiny.pretended(4, epoch, 3), epoch=epoch)


def go_wrong(fault: str) -> None:
    if fault == "hang":
        ctypes.PyDLL(None).sleep(600)  # keeps Python's lock, as a library may
    elif fault == "memory":
        torch.empty(2**60)
    elif fault in ERRORS:
        raise ERRORS[fault]


ERRORS: dict[str, Exception] = {
    "diverged": DivergedError("the training loss became nan in epoch 2; lower recipe.lr or set clip_norm"),
    "data": DataError("a.png could not be decoded as an image; replace or remove it"),
    "storage": OSError(errno.ENOSPC, "No space left on device", "checkpoint.pt"),
    "other": ValueError("never heard of it"),
}
