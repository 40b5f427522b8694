"""A teacher from a file in a whole experiment: measured before anything is trained, once, and said everywhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from automl_kd import experiment as stages
from automl_kd.config import Experiment
from automl_kd.experiment import ExperimentContext, Roots
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.results.report.page import write_page
from automl_kd.results.verdict.gain import judge_search
from automl_kd.results.verdict.teacher import teacher_of
from automl_kd.spec import TeacherSpec
from tests import tiny
from tests.experiment.test_run import Notes

pytestmark = pytest.mark.ray


def ignorant(root: Path) -> TeacherSpec:
    """A teacher that names the same class whatever it sees."""
    network: Any = tiny.teacher(tiny.SHAPE)
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    save_weights(network, root / "teacher.pt")
    return TeacherSpec(model="tests.tiny:teacher", checkpoint=str(root / "teacher.pt"))


def carry_out(root: Path, experiment: Experiment) -> tuple[ExperimentContext, Notes]:
    notes = Notes()
    return stages.run_stages(experiment, Roots(results=root / "results", data=root), notes), notes


def test_a_teacher_near_chance_is_warned_of_on_the_terminal_in_the_verdict_and_on_the_page(ray_session, tmp_path):
    experiment = tiny.experiment(teacher=ignorant(tmp_path))
    context, notes = carry_out(tmp_path, experiment)
    rows = context.table.read()
    row = rows[rows["trial_kind"] == "teacher"].iloc[0]
    labels = context.dataset.validation.labels
    share = int((labels == 1).sum()) / len(labels)
    assert (row["status"], row["method"], row["val_accuracy"]) == ("complete", "from-file", pytest.approx(share))
    assert (row["val_images"], row["val_majority_fraction"]) == (
        len(labels),
        int(labels.bincount().max()) / len(labels),
    )
    assert teacher_of(rows) is not None
    assert notes.titles[0] == "teacher tests.tiny:teacher, measured on validation"
    (warned,) = notes.notes
    assert warned.startswith("Warning: the teacher (tests.tiny:teacher, from a file) is right on")
    assert [plan.known.get("teacher") for plan in notes.plans[1:]] == [row["val_accuracy"]] * (len(notes.plans) - 1)
    assert judge_search(rows).sentence.startswith("Warning: ")
    page = write_page(context.folder, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Warning: the teacher (tests.tiny:teacher, from a file)" in page

    # Again, and in another experiment, it is not measured anew, and said all the same.
    file = context.teachers / context.teacher_training.key / "measured.json"
    before = file.stat().st_mtime_ns
    assert carry_out(tmp_path, experiment)[1].notes == [warned]
    other, said = carry_out(tmp_path, dataclasses.replace(experiment, name="other"))
    assert said.notes == [warned]
    assert (other.table.read()["trial_kind"] == "teacher").sum() == 1
    assert file.stat().st_mtime_ns == before
