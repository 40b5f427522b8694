"""`automl-kd export`: what it says, and what it refuses."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from automl_kd.methods import run_trial
from tests import ROOT, tiny


@pytest.fixture
def trial(tmp_path) -> str:
    spec = tiny.spec(method="scratch")
    place = tiny.place(tmp_path / "results" / "mine", spec)
    run_trial(spec, tiny.Recorder(), place)
    return f"results/mine/trials/{spec.key}"


def test_a_trial_is_exported(run, tmp_path, trial):
    code, out, err = run("export", trial, "mine student", "--no-onnx", "--progress", "none")
    assert code == 0, err
    assert out.startswith("mine student holds README.md, experiment.toml, ")
    assert "read mine student/README.md" in out
    again = run("export", trial, "mine student", "--no-onnx", "--progress", "none")
    assert (again.code, "is there already; name a folder" in again.err) == (2, True)
    assert (tmp_path / "mine student" / "student.pt2").exists()


def test_what_cannot_be_exported_is_one_sentence(refused, tmp_path, trial):
    cases = (
        ((trial, "s3://bucket/out"), "s3://bucket/out is no folder of this machine"),
        (("results/gone", "out"), "results/gone"),
        (("results/mine", "out"), "no results are in"),
        ((trial, "out", "--no-onnx", "--int8"), "int8 is made of the ONNX file"),
        ((trial, "out", "--max-int8-loss", "-1"), "max-int8-loss"),
    )
    for arguments, sentence in cases:
        assert sentence in refused("export", *arguments, "--progress", "none")
    shutil.rmtree(tmp_path / trial)


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_export_leaves_nothing_behind(tmp_path, trial, run, signal_number):
    """What only SIGKILL can leave, the next export of the same name removes."""
    command = [sys.executable, "-m", "automl_kd", "export", trial, "out", "--progress", "none"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 120
    while not list(tmp_path.glob("_out.*/student.safetensors")) and started.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert started.poll() is None
    started.send_signal(signal_number)
    assert started.wait(timeout=60) != 0
    left = [path.name for path in tmp_path.iterdir() if "out" in path.name]
    assert len(left) == (signal_number == signal.SIGKILL)
    if left:
        code, _, err = run("export", trial, "out", "--no-onnx", "--no-pt2", "--progress", "none")
        assert code == 0, err
        assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == ["out"]


def test_a_place_where_nothing_may_be_written_is_one_sentence(refused, tmp_path, trial):
    (tmp_path / "file").touch()
    assert "file" in refused("export", trial, "file/out", "--no-onnx", "--no-pt2", "--progress", "none")
