"""`automl-kd check-teacher`, and the first stage of a search: a teacher that sees images wrongly ends it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import automl_kd.experiment
from automl_kd.data import load_data
from automl_kd.errors import ConfigError
from automl_kd.spec import Preprocessing
from tests.experiment.teacher import coloured

SEARCH = 'name = "mine"\nspace = "model:resnet8"\n[recipe]\nepochs = 2\n[finalists]\nseeds = [0, 1, 2]\n'


@pytest.fixture
def experiment(tmp_path) -> Path:
    """A teacher that was trained with mean and deviation 0.5, and is described without."""
    data = coloured.write_images(tmp_path)
    teacher = coloured.train_teacher(tmp_path, load_data(data, tmp_path), Preprocessing(mean=(0.5,), std=(0.5,)))
    file: Path = tmp_path / "mine.toml"
    section = f'[teacher]\nmodel = "{teacher.model}"\ncheckpoint = "{teacher.checkpoint}"\n'
    file.write_text(f'{SEARCH}[data]\nname = "{data.name}"\n{section}')
    return file


OWN = ("--set", "teacher.preprocessing.mean=[0.5]", "--set", "teacher.preprocessing.std=[0.5]")


def test_what_does_better_is_named_and_ends_with_1(run, experiment):
    code, out, _ = run("check-teacher", str(experiment), "--progress", "none")
    assert code == 1
    assert "set teacher.preprocessing.mean = [0.5] and teacher.preprocessing.std = [0.5]" in out
    # Without a search: three baselines in three readings and the method, with three seeds.
    assert "at most 30 trainings of 2 epochs on 600 images would take about" in out
    assert "the student's loss on one batch went from" in out
    assert "a training of the baseline student needs about" in out
    assert not (experiment.parent / "results").exists()


def test_a_teacher_described_as_it_was_trained_passes(run, experiment):
    code, out, _ = run("check-teacher", str(experiment), "--progress", "none", *OWN)
    assert code == 0
    assert "nothing else that was tried is better" in out


def test_each_of_several_teachers_is_checked_by_name_and_then_all(run, experiment):
    text, own = experiment.read_text(), "[teacher.others.preprocessing]\nmean = [0.5]\nstd = [0.5]\n"
    model, file = coloured.MODEL, experiment.parent / "teacher.pt"
    own_of_first = own.replace("others.", "")
    other = f'[[teacher.others]]\nmodel = "{model}"\ncheckpoint = "{file}"\nresolution = 16\n'
    experiment.write_text(text + own_of_first + other + own)
    code, out, _ = run("check-teacher", str(experiment), "--progress", "none", "--set", "teacher.shares=[3,1]")
    assert code == 0
    assert f"teacher ({model}) is right on" in out
    assert f"teacher.others.0 ({model}) is right on" in out
    assert "an image of 3x8x8" in out
    assert "an image of 3x16x16" in out
    assert f"{model} + {model} together are right on" in out
    assert f"with the shares {model} 0.75 (" in out
    experiment.write_text(text + own_of_first + other.replace("resolution = 16\n", ""))
    code, out, _ = run("check-teacher", str(experiment), "--progress", "none")
    assert code == 1
    assert "set teacher.others.0.preprocessing.mean = [0.5] and teacher.others.0.preprocessing.std = [0.5]" in out


def test_a_teacher_that_is_trained_has_no_file_to_check(run, experiment):
    code, out, _ = run("check-teacher", str(experiment), "--progress", "none", "--set", "teacher.checkpoint=''")
    assert (code, "there is no file to check" in out) == (0, True)


def test_a_search_stops_before_anything_is_spent_unless_the_teacher_is_accepted(run, experiment, monkeypatch):
    def session(address="", resources=None):
        raise ConfigError("as far as Ray")

    monkeypatch.setattr(automl_kd.experiment, "session", session)
    code, _, err = run("search", str(experiment), "--progress", "none")
    assert code == 2
    assert "with mean and std 0.5" in err
    assert err.rstrip().endswith("to go on with it as it is, give --accept-teacher (accept_teacher=True)")
    assert not (experiment.parent / "results").exists()
    code, _, err = run("search", str(experiment), "--progress", "none", "--accept-teacher")
    assert (code, err.splitlines()[-1]) == (2, "automl-kd: as far as Ray")


def test_what_was_found_is_kept_and_not_looked_for_again(tmp_path):
    from automl_kd.experiment.stages.preflight import earlier_preflight, keep_preflight

    keep_preflight(tmp_path, {})
    assert earlier_preflight(tmp_path) == {}
    keep_preflight(tmp_path, {"teacher": "k"})
    assert json.loads((tmp_path / "preflight.json").read_text()) == earlier_preflight(tmp_path) == {"teacher": "k"}
