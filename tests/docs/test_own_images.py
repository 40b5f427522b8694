"""One's own folder and teacher, as the README says: from the images to the student's logits, with a smaller search."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from tests import ROOT
from tests.data.pictures import fill
from tests.docs.pages import arguments_of, block_with, blocks

SMALLER = (
    *("recipe.epochs=1", "search.trials=1", "search.sampler=random", "search.proxy_filter=[]", "search.scheduler=none"),
    *("finalists.seeds=[0]", "finalists.count=1", "data.resolution=16", "trial.device=cpu"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """Three classes of images, the weights of a teacher, and the README's experiment."""
    fill(tmp_path / "photos", ("ant", "bee", "cow"), count=20, suffix="jpg")
    torch.save(torchvision.models.resnet18(num_classes=3).state_dict(), tmp_path / "teacher.pt")
    (tmp_path / "mine.toml").write_text(block_with("toml", "folder:photos", "README.md"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(arguments: list[str], *more: str) -> None:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("AUTOML_KD", "RAY_"))}
    command = [sys.executable, "-m", "automl_kd", *arguments, *more]
    done = subprocess.run(
        command, env={**variables, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, shlex.join(command) + done.stderr


@pytest.mark.ray
@pytest.mark.long
def test_a_folder_and_a_teacher_become_a_student(folder):
    shown = [
        arguments_of(line) for block in blocks("README.md", "") if "mine.toml" in block for line in block.splitlines()
    ]
    assert [arguments[0] for arguments in shown] == ["show", "check-teacher", "search", "leaderboard"]
    for arguments in shown:
        smaller = [part for override in SMALLER for part in ("--set", override)] if arguments[0] == "search" else []
        run(arguments, *smaller)
    assert (folder / "results" / "mine" / "leaderboard.html").exists()
    names: dict[str, Any] = {}
    exec(block_with("python", "load_student", "README.md"), names)
    assert names["student"](torch.rand(2, 3, 16, 16)).shape == (2, 3)


@pytest.mark.ray
@pytest.mark.long
def test_one_student_is_taught_without_a_search(folder):
    (command,) = (line for block in blocks("README.md", "") for line in block.splitlines() if "distill" in line)
    smaller = ("--epochs", "1", "--seeds", "1", "--set", "data.resolution=16", "--set", "trial.device=cpu")
    run(arguments_of(command), *smaller)
    assert [*(folder / "results").glob("distill-kd-*/leaderboard.html")]
