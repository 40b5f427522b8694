"""Trials whose images are spoilt after their first epoch, when all of them were looked at and found sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from automl_kd.methods.base import CostEstimate
from automl_kd.methods.scratch import Scratch
from automl_kd.spec import Report, TrialPaths, TrialSpec


@dataclass(frozen=True)
class Spoilt:
    """Training on the labels; after its first epoch the file `path` is removed, or cut to `keep` bytes if that is > 0.

    A path that is empty is left as it is.
    """

    needs_teacher: ClassVar[bool] = False
    path: str = ""
    keep: int = 0

    def macs(self, student: int, teacher: int) -> int:
        return Scratch().macs(student, teacher)

    def cost(self, spec: TrialSpec, paths: TrialPaths) -> CostEstimate:
        return Scratch().cost(spec, paths)

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        def spoil(metrics: Mapping[str, float], *, epoch: int) -> None:
            report(metrics, epoch=epoch)
            if epoch == 1 and self.path:
                file = Path(self.path)
                if self.keep:
                    file.write_bytes(file.read_bytes()[: self.keep])
                else:
                    file.unlink()

        Scratch()(spec, spoil, paths)
