"""The whole command in a process of its own: its plan, five kills at random instants, and what is there in the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

import automl_kd
from automl_kd.config import Experiment, load_experiment
from automl_kd.models.weights.checkpoint import save_weights
from tests import ROOT, tiny

pytestmark = [pytest.mark.ray, pytest.mark.slow]

KILLS = 5


def command(root: Path, *more: str) -> list[str]:
    file = root / "teacher.pt"
    if not file.exists():
        torch.manual_seed(0)
        save_weights(tiny.teacher(tiny.SHAPE), file)
    given = {
        "--teacher": "tests.tiny:teacher",
        "--checkpoint": str(file),
        "--data": "tests.tiny:source",
        "--space": "tests.tiny:SPACE",
        "--max-params": "300",
        "--budget-hours": "0.3",
        "--epochs": "3",
        "--seeds": "2",
        "--name": "mine",
        "--out": str(root / "results"),
        "--progress": "lines",
    }
    fields = [
        "data.validation=0.2",
        "recipe.batch_size=8",
        "recipe.epochs=2",
        "search.trials=5",
        "trial.device=cpu",
        "trial.max_concurrent=2",
    ]
    sets = [part for one in fields for part in ("--set", one)]
    pairs = [part for pair in given.items() for part in pair]
    return [sys.executable, "-m", "automl_kd", "compress", *pairs, *sets, "--accept-teacher", *more]


def run(root: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(root, *more), cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def test_a_plan_alone_leaves_nothing(tmp_path):
    done = run(tmp_path, "--plan")
    assert done.returncode == 0, done.stderr
    assert "search: at most 5 trials of 2 epochs" in done.stdout
    assert "2 seeds of 3 epochs each" in done.stdout
    assert not list((tmp_path / "results").rglob("*.*"))


@pytest.mark.long
def test_a_killed_compression_goes_on_to_the_same_end(tmp_path):
    folder = tmp_path / "results" / "mine"
    chance = random.Random(5)
    for _ in range(KILLS):
        process = subprocess.Popen(
            command(tmp_path, "--yes"),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        time.sleep(chance.uniform(4.0, 20.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    done = run(tmp_path, "--yes")
    assert done.returncode == 0, done.stderr
    assert f"the student to hand on is in {folder / 'student'}" in done.stdout
    rows, _ = automl_kd.read_results(folder)
    assert not rows.duplicated(["trial_kind", "role", "key"]).any()
    check_finals(rows)
    check_repeated(folder, rows)
    student = automl_kd.load_student(folder / "student")
    assert student.labels == ("dark", "middle", "bright")
    again = run(tmp_path, "--yes")  # and once it is done, it stays as it is
    assert again.returncode == 0, again.stderr
    pd.testing.assert_frame_equal(automl_kd.read_results(folder).rows, rows)


def check_finals(rows: pd.DataFrame) -> None:
    finals = rows[rows["trial_kind"] == "final"]
    assert set(finals["role"]) == {"default-kd", "found-scratch", "found-method"}
    assert (finals.groupby("role", observed=True)["seed"].nunique() == 2).all()
    assert (finals[finals["role"] == "found-method"]["epochs"] == 3).all()
    assert (rows["params"] <= 300)[rows["trial_kind"] != "teacher"].all()
    costs = finals.groupby("role", observed=True)["train_macs"].mean()
    assert costs.max() <= 1.06 * costs.min()  # a training has whole steps, of which these have some thirty


def check_repeated(folder: Path, rows: pd.DataFrame) -> None:
    """The file that repeats it names the trials that were begun, and the finals as they were trained."""
    described = load_experiment(folder / "experiment.toml")
    assert isinstance(described, Experiment)
    assert described.search.trials == (rows["trial_kind"] == "search").sum()
    assert described.finalists.epochs == 3
    kept = json.loads((folder / "_compress.json").read_text())
    assert sum(kept["spent"].values()) < 0.3 * 3600
    assert {"search", "finals", "export"} <= kept["spent"].keys()
