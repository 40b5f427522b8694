"""The experiment of a missing training: it reads back, and trains the student in full as its experiment does."""

from __future__ import annotations

import dataclasses

import pytest

from automl_kd.config import load_experiment, to_record
from automl_kd.errors import ConfigError
from automl_kd.export.training_file import write_training
from automl_kd.results.archive.archive import read_student_archive
from automl_kd.results.archive.choice import choose_student
from automl_kd.results.archive.limits import Limits
from automl_kd.spec import Recipe
from tests import tiny
from tests.results.archive.made import final, trial, write_archive
from tests.results.synthetic import score

SCORED = {"space": "tests.tiny:SPACE", "values_json": '{"width": 9}'}


@pytest.fixture
def spec():
    return dataclasses.replace(tiny.spec(method="kd", width=5, recipe=Recipe(epochs=4)), options={"temperature": 3.0})


def written(folder, trials, scores, record, tmp_path, **limits):
    archive = read_student_archive([write_archive(folder, trials, scores, record)])
    choice = choose_student(archive, Limits(**limits))
    assert choice.missing is not None
    (tmp_path / "train.toml").write_text(write_training(archive, choice.missing.student))
    return load_experiment(tmp_path / "train.toml"), (tmp_path / "train.toml").read_text()


def record_of(**changes):
    experiment = tiny.experiment(**changes)
    finalists = dataclasses.replace(experiment.finalists, epochs=10, seeds=(3, 4))
    return to_record(dataclasses.replace(experiment, name="mine", finalists=finalists))


def test_a_short_training_is_done_in_full_with_the_seeds_of_the_finals(tmp_path, spec):
    short = trial(
        "s0", "a" * 12, 0.5, 10, space="tests.tiny:SPACE", spec_json=spec.to_json(), values_json='{"width": 5}'
    )
    experiment, text = written(tmp_path / "mine", [short], [], record_of(), tmp_path)
    assert experiment.name == f"mine-{'a' * 12}"
    assert experiment.finalists.baseline == {"width": 5}
    assert experiment.finalists.seeds == (3, 4)
    assert experiment.recipe.epochs == 10
    (entry,) = experiment.comparison.methods
    assert (entry.method, entry.options) == ("kd", {"temperature": 3.0})
    assert f"Trains {'a' * 12} of" in text


def test_a_scored_student_is_trained_as_the_found_one(tmp_path, spec):
    found = final(
        "f0", "f" * 12, 0.5, 10**6, space="tests.tiny:SPACE", spec_json=spec.to_json(), values_json='{"width": 5}'
    )
    scores = [score("naswot", 1, 1.0, **SCORED)]
    experiment, _ = written(tmp_path / "mine", [found], scores, record_of(), tmp_path, params=2000)
    assert experiment.finalists.baseline == {"width": 9}
    assert experiment.comparison.methods[0].options == {"temperature": 3.0}
    assert experiment.recipe.epochs == 10


def test_before_any_trial_its_experiment_says_how(tmp_path):
    record = record_of(method="kd", options={"temperature": 2.5})
    experiment, _ = written(tmp_path / "mine", [], [score("naswot", 1, 1.0, **SCORED)], record, tmp_path)
    assert experiment.comparison.methods[0].options == {"temperature": 2.5}
    assert experiment.finalists.baseline == {"width": 9}


def test_of_scores_alone_plain_kd_is_the_method(tmp_path):
    scores = [score("naswot", 1, 1.0, **SCORED, teacher="resnet20")]
    write_archive(tmp_path / "mine", [], scores)
    (tmp_path / "mine" / "experiment.json").unlink()
    archive = read_student_archive([tmp_path / "mine"])
    choice = choose_student(archive, Limits())
    assert choice.missing is not None
    (tmp_path / "train.toml").write_text(write_training(archive, choice.missing.student))
    experiment = load_experiment(tmp_path / "train.toml")
    assert (experiment.data.name, experiment.teacher.model, experiment.method) == ("digits", "resnet20", "kd")
    assert experiment.finalists.seeds == (0, 1, 2)


def test_a_row_without_a_spec_cannot_be_trained_again(tmp_path):
    with pytest.raises(ConfigError, match="the row of trial s0 has no spec"):
        written(tmp_path / "mine", [trial("s0", "a" * 12, 0.5, 10)], [], record_of(), tmp_path)
