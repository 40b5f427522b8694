"""`automl-kd export`: what it says, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from PIL import Image

from automl_kd.config import Experiment, to_record
from automl_kd.data import digest_dataset, load_data
from automl_kd.export.subject import locate_data
from automl_kd.methods import run_trial
from automl_kd.spec import DataSpec
from tests import ROOT, tiny
from tests.export.test_experiments import photo_spec, photograph


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


@pytest.fixture
def moved(tmp_path) -> tuple[str, DataSpec]:
    """A trial whose images were moved after its training, to the folder `new`; and its data there."""
    spec = photo_spec(tmp_path / "old")
    spec = replace(spec, digest=digest_dataset(load_data(spec, tmp_path)))
    trial_spec = tiny.spec(method="scratch", data=spec)
    run_trial(trial_spec, tiny.Recorder(), tiny.place(tmp_path / "results" / "mine", trial_spec))
    (tmp_path / "old").rename(tmp_path / "new")
    return f"results/mine/trials/{trial_spec.key}", replace(spec, name=f"folder:{tmp_path}/new/photos")


PLAIN = ("--no-onnx", "--no-pt2", "--progress", "none")


def test_images_that_were_moved_are_given(run, refused, moved, tmp_path):
    assert "old/photos" in refused("export", moved[0], "out", *PLAIN)
    Image.new("RGB", (12, 12)).save(tmp_path / "new" / "photos" / "ant" / "0.png")
    held = "new/photos holds other data than"
    assert held in refused("export", moved[0], "out", *PLAIN, "--data", "folder:new/photos")
    photograph(tmp_path / "new")
    code, _, said = run("export", moved[0], "out", *PLAIN, "--data", "folder:new/photos")
    assert code == 0, said


def test_images_that_a_later_session_read_elsewhere_are_found(run, moved, tmp_path):
    record = to_record(Experiment(name="mine", space="tests.tiny:SPACE", data=moved[1]))
    (tmp_path / "results" / "mine" / "experiment.json").write_text(json.dumps(record))
    code, _, said = run("export", moved[0], "out", *PLAIN)
    assert code == 0, said


def test_files_of_another_content_are_not_taken(moved, tmp_path):
    old, new = (f"/{folder}/t.json@sha256-" for folder in ("old", "new"))
    trained = replace(moved[1], name="folder:/old", tokenizer=old + "a" * 64)
    trial = tmp_path / moved[0]
    for changes, found in (
        ({"tokenizer": new + "a" * 64}, (moved[1].name, new + "a" * 64)),
        ({"tokenizer": new + "b" * 64}, (moved[1].name, old + "a" * 64)),
        ({"tokenizer": new + "a" * 64, "digest": "0" * 16}, ("folder:/old", new + "a" * 64)),
    ):
        record = to_record(Experiment(name="mine", space="tests.tiny:SPACE", data=replace(moved[1], **changes)))
        (tmp_path / "results" / "mine" / "experiment.json").write_text(json.dumps(record))
        located = locate_data(trained, trial)
        assert (located.name, located.tokenizer) == found
