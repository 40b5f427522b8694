"""The two networks that a page compares, a trained student and its teacher, and the images they are tried on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from automl_kd import storage
from automl_kd.data import Dataset, LoadProgress
from automl_kd.decision.candidates import JudgedExperiment
from automl_kd.errors import ConfigError, ResultError
from automl_kd.export.subject import ComparisonText, Subject
from automl_kd.methods.model_card import read_card
from automl_kd.models.pickled import find_moved
from automl_kd.models.teacher_mean import teacher_label
from automl_kd.registry import PICKLED
from automl_kd.spec import TeacherSpec, TrialPaths, TrialSpec
from automl_kd.training.trial import read_teacher_network


@dataclass(frozen=True, kw_only=True)
class ShownTrial:
    """The trial whose student is shown. `row`: of its final. `teacher`: None where no trial names one."""

    key: str
    folder: Path
    row: Mapping[str, Any]
    spec: TrialSpec
    teacher: TeacherSpec | None

    @property
    def teacher_name(self) -> str:
        """Names the teacher in kept predictions: what it is called, and of a file the digest."""
        return f"{teacher_label(self.teacher)} {self.teacher.digest}".strip() if self.teacher else ""


@dataclass(frozen=True, eq=False, kw_only=True)
class ComparedNetworks:
    """Both on the processor, and in evaluation mode. `images`: the digest of the data set, empty if not recorded."""

    subject: Subject
    teacher: nn.Module | None
    teacher_name: str
    images: str

    @property
    def spec(self) -> TrialSpec:
        return self.subject.spec

    @property
    def dataset(self) -> Dataset:
        return self.subject.dataset

    @property
    def student(self) -> nn.Module:
        return self.subject.student

    def as_given(self, views: Tensor) -> Tensor:
        """What the student takes of `views`, which a larger teacher may need larger."""
        return self.subject.resize_views(views)


def choose_trial(experiment: JudgedExperiment, export_folder: Path | None, key: str = "") -> ShownTrial | None:
    """The trial of this key; else the exported one; else of the found student's seeds the best on validation.

    None where no final is complete. `ResultError` for a trial that the experiment does not have.
    """
    if not key and export_folder is not None:
        key = read_card(storage.local_path(export_folder))[0].key
    rows = experiment.rows
    if key:
        ours = rows[(rows["key"] == key) & (rows["status"] == "complete")]
        if ours.empty:
            raise ResultError(
                f"{experiment.folder} has no complete trial {key}, which is to be shown; give the experiment whose "
                "student was exported"
            )
        ours = ours.sort_values("trial_kind", key=lambda kinds: kinds != "final", kind="stable")
    elif experiment.found is None:
        return None
    else:
        ours = experiment.finals[experiment.finals["role"] == experiment.found.role]
        ours = ours.sort_values(["val_accuracy", "seed"], ascending=[False, True])
    row = {str(name): value for name, value in ours.iloc[0].items()}
    spec = read_trial_spec(row)
    if spec is None:
        return None
    teacher = spec.teacher or find_teacher(rows)
    return ShownTrial(
        key=row["key"], folder=experiment.folder / "trials" / row["key"], row=row, spec=spec, teacher=teacher
    )


def read_trial_spec(row: Mapping[str, Any]) -> TrialSpec | None:
    """The spec in a row; None where the row has none that this version can read."""
    try:
        return TrialSpec.from_json(row["spec_json"])
    except (TypeError, KeyError, ValueError):
        return None


def find_teacher(rows: pd.DataFrame) -> TeacherSpec | None:
    """The teacher that other trials of the experiment name: a student from scratch has none of its own."""
    for row in rows[rows["trial_kind"].isin(["final", "search", "teacher"])].to_dict("records"):
        spec = read_trial_spec({str(name): value for name, value in row.items()})
        if spec is not None and spec.teacher is not None:
            return spec.teacher
    return None


def open_networks(
    trial: ShownTrial, data_root: Path, notify: LoadProgress, *, trusted: bool = False
) -> ComparedNetworks:
    """Both networks with their weights, and the images of the trial's training.

    `trusted`: also networks that a Python program gave as objects, which are unpickled, and so can run any code.
    `DataError` if the images are not there or not those of the training, `CheckpointError` if weights are not,
    `ConfigError` for an object unless trusted.
    """
    subject = Subject.load(
        trial.folder, data_root, row=trial.row, standing=ComparisonText(), trusted=trusted, notify=notify
    )
    return ComparedNetworks(
        subject=subject,
        teacher=open_teacher(trial, subject.dataset, data_root, trusted=trusted) if trial.teacher else None,
        teacher_name=trial.teacher_name,
        images=trial.spec.data.digest,
    )


def open_teacher(trial: ShownTrial, dataset: Dataset, data_root: Path, *, trusted: bool) -> nn.Module:
    """The teacher with its weights, which takes what `plain_view` gives and names the data's classes."""
    assert trial.teacher is not None  # asked for where there is one
    experiment = trial.folder.parent.parent
    teacher = trial.teacher.with_members(
        [replace(one, model=find_moved(one.model, experiment / "_objects")) for one in trial.teacher.members]
    )
    if any(PICKLED in one.model for one in teacher.members) and not trusted:
        raise ConfigError(
            f"the teacher of {trial.folder} was given as an object of a Python program, and reading it back runs code; "
            "pass trusted=True if you trust this folder"
        )
    paths = TrialPaths(trial=trial.folder, teachers=experiment.parent / "teachers", data=data_root)
    with torch.random.fork_rng(devices=[]):  # a network is built with weights that are drawn
        network = read_teacher_network(replace(trial.spec, teacher=teacher), paths, dataset)
    return network.requires_grad_(False).eval()
