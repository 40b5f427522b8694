"""`automl-kd profile`: what it says, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from automl_kd import data
from automl_kd.cli.profile import students_of_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.profiling import DeviceProfile
from tests.data.pictures import fill
from tests.data.text.words import encoder_of, write_set

TINY = ("--space", "tests.tiny:SPACE", "--resolution", "8", "--classes", "3", "--channels", "1", "--networks", "3")
QUIET = ("--progress", "none", "--operators", "1", "--rounds", "1")


@pytest.mark.slow
def test_a_device_is_profiled_here_or_there(run, tmp_path):
    code, out, err = run("profile", "here.json", *TINY, *QUIET)
    assert code == 0, err
    assert ", 1 thread: 3 networks, 9 layers for images of 1x8x8; predictions are off by " in out
    assert out.endswith('written to here.json; set [budget] profile = "here.json" and latency_ms\n')
    here = DeviceProfile.read(tmp_path / "here.json")
    assert not (tmp_path / "here.json.partial").exists()

    code, out, err = run("profile", "--prepare", "graphs", *TINY, *QUIET, "--threads", "2")
    assert code == 0, err
    assert "carry it to the device, run 'python graphs/measure.py' there" in out
    command = [sys.executable, "-I", "graphs/measure.py", "--device", "my phone", "--threads", "1"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    code, out, err = run("profile", "there.json", "--measured", "graphs/measured.json", "--progress", "none")
    assert code == 0, err
    assert out.startswith("my phone, onnxruntime ")
    there = DeviceProfile.read(tmp_path / "there.json")
    assert [one for one, _ in there.networks] == [one for one, _ in here.networks]


@pytest.mark.slow
def test_an_experiment_says_what_is_profiled(run, tmp_path):
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nspace = "tests.tiny:SPACE"\n[data]\nname = "tests.tiny:source"\nvalidation = 0.2\n'
    )
    code, _, err = run("profile", "--prepare", "graphs", "--experiment", "mine.toml", "--networks", "2", *QUIET)
    assert code == 0, err
    plan = json.loads((tmp_path / "graphs" / "list.json").read_text())["plan"]
    assert plan["space"] == "tests.tiny:SPACE"
    assert plan["shape"] == {"channels": 1, "height": 8, "width": 8, "classes": 3}
    again = run("profile", "--prepare", "graphs", *TINY, *QUIET)
    assert (again.code, "was prepared for other networks" in again.err) == (2, True)


def test_images_that_a_search_streams_are_not_decoded(tmp_path, monkeypatch):
    fill(tmp_path / "photos", ("ant", "bee"), 20)
    path = tmp_path / "mine.toml"
    path.write_text(
        f'name = "mine"\nspace = "tests.tiny:SPACE"\ndata.name = "folder:{tmp_path}/photos"\ndata.resolution = 16\n'
        'recipe.augment = "random-resized-crop"\n'
    )
    loaded, load = [], data.load_data

    def note(spec, *rest):
        loaded.append(spec)
        return load(spec, *rest)

    monkeypatch.setattr(data, "load_data", note)
    shape = students_of_experiment(path, str(tmp_path), Silent())[1]
    assert (shape.height, shape.width, shape.classes) == (16, 16, 2)
    assert [one.loading for one in loaded] == ["stream"]


@pytest.mark.slow
def test_texts_of_an_experiment_become_tokens_by_its_teacher_s_tokenizer(run, tmp_path):
    table, folder = write_set(tmp_path / "set"), encoder_of(tmp_path / "encoder")
    (table.parent / "tokenizer.json").unlink()
    (tmp_path / "mine.toml").write_text(
        f'name = "mine"\nspace = "search_spaces.bert:SPACE"\ndata.name = "text:{table}"\n'
        f'teacher.model = "hf:{folder}"\nstudent.init = "teacher"\n'
        'budget = { profile = "here.json", latency_ms = 2.0 }\n'
    )
    # The profile that the experiment names is what the command is to make.
    code, _, err = run("profile", "--prepare", "graphs", "--experiment", "mine.toml", "--networks", "1", *QUIET)
    assert code == 0, err
    shape = json.loads((tmp_path / "graphs" / "list.json").read_text())["plan"]["shape"]
    assert shape["classes"] == 3
    assert shape["width"] == 10  # 7.5 words on average, and the two ends


def test_what_cannot_be_profiled_is_one_sentence(refused):
    cases = (
        ((), "no file for the profile was named"),
        (("a.json", "--prepare", "graphs"), "--prepare graphs measures nothing, so there is no a.json yet"),
        (("--prepare", "graphs", "--measured", "b.json"), "give one of them"),
        (("a.json",), "give --space, --classes and --resolution, or --length"),
        (("a.json", *TINY, "--length", "9"), "--resolution is of images and --length of texts; give one of them"),
        (("a.json", "--target", "tflite", *TINY), "--target 'tflite' is no runtime that can be measured"),
        (("s3://bucket/a.json", *TINY), "a profile is written to this machine"),
        (("a.json", "--experiment", "x.toml", "--classes", "3"), "--experiment says space, resolution or length"),
        (("a.json", "--experiment", "x.toml", "--length", "3"), "--experiment says space, resolution or length"),
        (("a.json", "--experiment", "x.toml"), "no experiment could be read from x.toml"),
        (("a.json", "--measured", "none/measured.json"), "no measurements could be read"),
    )
    for arguments, sentence in cases:
        assert sentence in refused("profile", *arguments, "--progress", "none")
