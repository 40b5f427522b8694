"""A trained student to export: the tiny network, after three epochs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from automl_kd.export import ComparisonText, Subject
from automl_kd.methods import run_trial
from automl_kd.training.checkpoint import load_checkpoint
from tests import tiny


@pytest.fixture(scope="session")
def trial(tmp_path_factory) -> Path:
    """The folder of a finished trial."""
    spec = tiny.spec(method="scratch")
    place = tiny.place(tmp_path_factory.mktemp("results") / "mine", spec)
    run_trial(spec, tiny.Recorder(), place)
    return place.trial


@pytest.fixture
def subject(trial, tmp_path) -> Subject:
    standing = ComparisonText("Gained 1.00 points.", "| student |\n| --- |\n| width 4 |\n", "The search took 3 s.")
    state = load_checkpoint(trial / "checkpoint.pt", torch.device("cpu"))
    assert state is not None
    accuracy = state["history"][-1]["val_accuracy"]
    row = {"experiment": "mine", "student": "width 4", "val_accuracy": accuracy, "test_accuracy": 0.4, "params": 59.0}
    return Subject.load(trial, tmp_path, row=row, standing=standing)
