"""`automl-kd export`: what it says, and what it refuses."""

from __future__ import annotations

import shutil

import pytest

from automl_kd.methods import run_trial
from tests import tiny


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
