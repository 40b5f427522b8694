"""The check of a teacher from a file: it names the preprocessing and the order of classes, or says that none fits."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from automl_kd.experiment.preflight import preflight
from automl_kd.experiment.preflight.preflight import Preflight, candidates, preflight_sentence, run_preflight, table_of
from automl_kd.experiment.preflight.reading import sharpest_losses
from automl_kd.experiment.progress.events import Silent
from automl_kd.spec import Preprocessing
from tests.experiment.teacher import coloured

HALF = Preprocessing(mean=(0.5,), std=(0.5,))
IMAGENET = Preprocessing(mean=preflight.IMAGENET[0], std=preflight.IMAGENET[1])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return coloured.load(tmp_path_factory.mktemp("colours"))


def checked(folder, dataset, own: Preprocessing, outputs=(), **described) -> Preflight:
    teacher = coloured.train_teacher(folder, dataset, own, outputs)
    return run_preflight(dataclasses.replace(teacher, **described), dataset, Silent())


@pytest.mark.parametrize(
    ("own", "name", "advice"),
    [
        (HALF, "mean and std 0.5", "set teacher.preprocessing.mean = [0.5] and teacher.preprocessing.std = [0.5]"),
        (Preprocessing(white=255.0), "values from 0 to 255", "set teacher.preprocessing.white = 255"),
        (Preprocessing(mean=(0.0,), std=(1.0,)), "values from 0 to 1", "set teacher.preprocessing.mean = [0.0] and "),
        (Preprocessing(channels="bgr"), "as configured, but BGR", 'set teacher.preprocessing.channels = "bgr"'),
    ],
)
def test_the_preprocessing_of_its_training_is_named(tmp_path, dataset, own, name, advice):
    found = checked(tmp_path, dataset, own)
    assert found.better is not None
    assert found.better.name == name
    assert found.better.fits
    assert found.configured.fits is (own.channels == "bgr")  # the colours are alike in their moments
    assert advice in preflight_sentence(found)


@pytest.mark.parametrize("own", [HALF, IMAGENET, Preprocessing()])
def test_a_teacher_that_is_described_as_it_was_trained_passes(tmp_path, dataset, own):
    found = checked(tmp_path, dataset, own, preprocessing=own)
    assert found.better is None
    assert found.configured.fits
    assert preflight_sentence(found).endswith("and nothing else that was tried is better")


def test_another_order_of_classes_is_named_exactly(tmp_path, dataset):
    found = checked(tmp_path, dataset, HALF, (4, 0, 7, 1, 2), preprocessing=HALF, classes=(0, 1, 2, 3, 4))
    assert found.better is not None
    assert found.better.classes == (4, 0, 7, 1, 2)
    assert "set teacher.classes = [4, 0, 7, 1, 2]" in preflight_sentence(found)


def test_both_at_once_are_named(tmp_path, dataset):
    found = checked(tmp_path, dataset, IMAGENET, (4, 0, 7, 1, 2), classes=(0, 1, 2, 3, 4))
    assert found.better is not None
    assert (found.better.classes, found.better.preprocessing.moments) == ((4, 0, 7, 1, 2), IMAGENET.moments)


@pytest.mark.parametrize("own", [Preprocessing(mean=(0.9,), std=(0.5,)), Preprocessing(mean=(0.1,), std=(0.02,))])
def test_where_none_was_that_of_its_training_none_is_named(tmp_path, dataset, own):
    found = checked(tmp_path, dataset, own)
    assert found.none_fits
    sentence = preflight_sentence(found)
    assert "set teacher.preprocessing.mean" not in sentence
    assert "none of the kinds of preprocessing that were tried fits" in sentence or "look up its own" in sentence


def test_few_images_of_a_class_tell_nothing_of_an_order(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(preflight, "IMAGES_PER_CLASS", 1000)
    found = checked(tmp_path, dataset, HALF, (4, 0, 7, 1, 2), preprocessing=HALF, classes=(0, 1, 2, 3, 4))
    assert all(not one.classes for one in found.others)


def test_a_teacher_that_is_only_less_sure_is_no_better():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (200,), generator=generator)
    logits = torch.randn(200, 3, generator=generator, dtype=torch.float64) + 2 * torch.nn.functional.one_hot(labels, 3)
    sure, unsure = (sharpest_losses(scale * logits, labels, (0, 1, 2)) for scale in (8.0, 1.0))
    assert abs(float((sure - unsure).mean())) < 0.01


def test_every_candidate_does_something_else():
    found = candidates(HALF, 3)
    assert next(iter(found.items())) == ("as configured", HALF)
    assert "mean and std 0.5" not in found
    assert len(found) == 10
    assert len(candidates(Preprocessing(), 1)) == 4
    assert all(one.crop == 0.875 for one in candidates(dataclasses.replace(HALF, crop=0.875), 3).values())


def test_the_table_has_a_line_for_each(tmp_path, dataset):
    found = checked(tmp_path, dataset, HALF)
    sheet = table_of(found)
    assert len(sheet.rows) == 1 + len(found.others)
    assert sheet.rows[0][0] == "as configured"
    assert sheet.rows[1][3] == "as in training"
