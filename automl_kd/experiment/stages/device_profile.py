"""A device profile made on this machine, before anything is trained on it."""

from __future__ import annotations

import shutil
from pathlib import Path

from automl_kd.experiment.progress.events import Watcher
from automl_kd.experiment.sentences import in_a_sentence
from automl_kd.profiling import (
    DeviceProfile,
    ProfilePlan,
    fit_profile,
    is_prepared,
    measure_folder,
    prepare_folder,
)

MEASURING_TITLE = "measuring, with nothing else on the machine"


def write_profile_graphs(folder: Path, plan: ProfilePlan, watcher: Watcher) -> None:
    """Prepare `folder`, unless it is prepared for `plan` already."""
    if is_prepared(folder, plan):
        watcher.note(f"{folder} is prepared already, and is taken as it is")
        return
    watcher.stage(f"writing networks to {folder}", plan.networks, "networks")
    with in_a_sentence(f"students of {plan.space}", plan.shape, "choose another space, or inputs that it takes"):
        prepare_folder(folder, plan, lambda done, _total: watcher.step(done))


def profile_this_machine(out: Path, plan: ProfilePlan, watcher: Watcher) -> DeviceProfile:
    """Measure beside `out`, in a folder that is removed when the profile is written to `out`.

    A call that was interrupted goes on with what is in that folder. `ExportError` without onnx and onnxruntime.
    """
    folder = out.with_name(f"{out.name}.partial")
    write_profile_graphs(folder, plan, watcher)
    if (folder / "measured.json").exists():
        watcher.note(f"goes on with the measurements in {folder}")
    watcher.stage(MEASURING_TITLE, 1, "graphs")
    began = [0]

    def notify(done: int, total: int, file: str) -> None:
        if began[0] != total:
            began[0] = total
            watcher.stage(MEASURING_TITLE, total, "graphs")
        watcher.step(done, file)

    found = fit_profile(measure_folder(folder, notify))
    found.write(out)
    shutil.rmtree(folder)
    return found
