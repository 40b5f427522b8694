"""The teacher stage: trains a teacher once for all experiments under a results root, or measures one from a file."""

from __future__ import annotations

from pathlib import Path

from automl_kd import storage
from automl_kd.errors import TrialError
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.stages.trials import Entrant, carry_out_all
from automl_kd.models.teacher_mean import teacher_label
from automl_kd.results import units
from automl_kd.results.store.folder import in_use, lock
from automl_kd.results.store.text_baselines import find_teacher_no_better, read_text_baselines
from automl_kd.results.verdict.teacher import accuracy_of, teacher_of, warning
from automl_kd.training.checkpoint import CHECKPOINTS


def prepare_teacher(context: ExperimentContext) -> None:
    """Ensure that the teacher's weights lie where trials expect them, and that its cost and accuracy are recorded.

    If another experiment trains or measures the same teacher, wait for it. Note its accuracy; a warning is repeated in
    every session.
    """
    teacher = context.experiment.teacher
    name = teacher_label(teacher)
    folder = context.teachers / context.teacher_training.key
    done, title = "trained", f"teacher {name}"
    if teacher.checkpoint:
        done, title = "measured", f"{title}, measured on validation"
    else:  # of one from a file the preflight said it
        macs = units.format_count(context.teacher_macs)
        context.watcher.note(f"teacher {name} takes {macs} multiply-adds for {context.dataset.shape.one_noun}")
    if in_use(folder):
        context.watcher.note(f"the same teacher {name} is {done} by another run; waiting for it")
    with lock(folder, wait=True):
        entrants, again = [Entrant("teacher", context.teacher_training)], not teacher.checkpoint and lost(folder)
        carry_out_all(context, entrants, trial_kind="teacher", title=title, again=again)
    rows = context.table.read()
    ours = rows[(rows["trial_kind"] == "teacher") & (rows["key"] == context.teacher_training.key)]
    if not (ours["status"] == "complete").any():
        reason = ours["error"].dropna().iloc[-1] if len(ours["error"].dropna()) else "it was interrupted"
        raise TrialError(f"the teacher {name} could not be {done}: {reason}")
    found = teacher_of(ours)
    if warning_text := warning(found) or (accuracy_of(found) if teacher.checkpoint else ""):
        context.watcher.note(warning_text)
    if found and (sentence := find_teacher_no_better(read_text_baselines(context.folder), found.accuracy)):
        context.watcher.note(sentence)


def lost(folder: Path) -> bool:
    """Whether no weights lie in a teacher's folder, which is made ready for its training then."""
    storage.pull_file(folder / "student.pt")
    if (folder / "student.pt").exists():
        return False
    if (folder / "student.json").exists():
        # The model card is the last file that a training writes, so this one ended and its weights were deleted since:
        # continued from its checkpoint, it would have nothing to do and write none.
        storage.remove_named(folder, CHECKPOINTS)
    return True
