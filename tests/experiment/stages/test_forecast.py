"""What an experiment takes in full of which a stand-in is prepared."""

from __future__ import annotations

import pytest

from automl_kd.config import loads
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent

TEXT = """
name = "forecast_stand_in"
space = "model:resnet8"
[data]
name = "digits"
train_images = 60
[teacher]
model = "resnet14"
recipe.epochs = 1
[recipe]
epochs = 1
[finalists]
seeds = [0]
readings = ["compute"]
[stand_in]
images = 1_000_000
resolution = 32
epochs = 10
seeds = 2
"""


class Listening(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def prepared(text, folder):
    watcher = Listening()
    return prepare_experiment(loads(text), Roots(results=folder, data=folder), watcher), watcher.notes


def test_the_forecast_counts_passes_and_assumes_a_rate(tmp_path):
    _, notes = prepared(TEXT, tmp_path)
    [said] = [one for one in notes if one.startswith("in full: ")]
    # digits have one channel: of 16 x 9 more multiply-adds for each of 32 x 32 pixels, 1 / 3 are left
    student, teacher = 12_501_632 - 2 * 9 * 16 * 1024, 26_657_408 - 2 * 9 * 16 * 1024
    trainings = 2 * (1 + 3)  # two seeds of the method and three baselines
    macs = 1e6 * 10 * trainings * (3 * student + teacher)
    assert f"at most {trainings} trainings of 10 epochs on 1,000,000 images" in said
    assert f"{macs / 1e15:.2f} P multiply-adds: {macs / 1e14 / 3600:.1f} to {macs / 25e12 / 3600:.1f} GPU-hours" in said
    assert "assumed" in said


def test_no_forecast_of_what_is_no_stand_in(tmp_path):
    _, notes = prepared(TEXT.partition("[stand_in]")[0], tmp_path)
    assert not [one for one in notes if one.startswith("in full: ")]


def test_a_set_that_was_not_copied_whole_is_refused(tmp_path):
    whole = 'name = "some"\nspace = "model:resnet8"\nexpected_images = {}\n[teacher]\nmodel = "resnet14"\n'
    with pytest.raises(ConfigError, match=r"digits has 1,\d+ images for training and validation, and expected_images"):
        prepared(whole.format(1_281_167), tmp_path)
