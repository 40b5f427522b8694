"""The teacher: trained once for all experiments under one results root, or loaded from a file."""

from __future__ import annotations

from automl_kd import storage
from automl_kd.errors import TrialError
from automl_kd.experiment.lab import Lab
from automl_kd.experiment.trials import Entrant, carry_out_all
from automl_kd.results.folder import in_use, lock
from automl_kd.spec import teacher_trial


def train_teacher(lab: Lab) -> None:
    """Make sure that the teacher's weights lie where trials look for them, and its cost and accuracy are on record.

    Another experiment that is training the same teacher is waited for.
    """
    experiment = lab.experiment
    if experiment.teacher.checkpoint:
        return
    spec = teacher_trial(experiment.teacher, experiment.data)
    folder = lab.teachers / spec.key
    if in_use(folder):
        lab.watcher.note(f"another run trains the same teacher {experiment.teacher.model}; waiting for it")
    with lock(folder, wait=True):
        storage.pull_file(folder / "student.pt")
        again = not (folder / "student.pt").exists()
        if again and (folder / "student.json").exists():
            # The card is the last thing that a training leaves, so this one ended and its weights were deleted since:
            # continued from its checkpoint, it would have nothing to do and write none.
            (folder / "checkpoint.pt").unlink(missing_ok=True)
            storage.remove([folder / "checkpoint.pt"])
        entrants = [Entrant("teacher", spec)]
        carry_out_all(lab, entrants, as_run="teacher", title=f"teacher {experiment.teacher.model}", again=again)
    rows = lab.table.read()
    teacher = rows[rows["run"] == "teacher"]
    if not (teacher["status"] == "complete").any():
        reason = teacher["error"].dropna().iloc[-1] if len(teacher["error"].dropna()) else "it was interrupted"
        raise TrialError(f"the teacher {experiment.teacher.model} could not be trained: {reason}")
