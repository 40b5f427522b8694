"""A trial that trains, and notes for each sitting how many epochs lay behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from automl_kd.methods import make_method
from automl_kd.spec import Report, TrialPaths, TrialSpec
from automl_kd.training.checkpoint import epochs_saved


@dataclass(frozen=True)
class Counted:
    """The method `scratch`, with a line in `trial/sittings` for every time that it was begun."""

    needs_teacher: ClassVar[bool] = False

    def macs(self, student: int, teacher: int) -> int:
        return 3 * student

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        paths.trial.mkdir(parents=True, exist_ok=True)
        with (paths.trial / "sittings").open("a", encoding="utf-8") as file:
            file.write(f"{epochs_saved(paths.trial / 'checkpoint.pt')}\n")
        make_method("scratch", {})(spec, report, paths)
