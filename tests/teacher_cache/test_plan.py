"""What a cache will take is said before the run, and what would fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from automl_kd.data import Dataset, Split
from automl_kd.models.features import Outputs
from automl_kd.spec import Recipe, TeacherCacheOptions, TeacherSpec
from automl_kd.teacher_cache.plan import bytes_of_image, plan_cache, run_bytes, settle_outputs
from automl_kd.teacher_cache.precision import pack, unpack
from tests import tiny

OPTIONS = TeacherCacheOptions(keep="logits")


def large(images: int, classes: int) -> Dataset:
    """Without a pixel."""
    known = tiny.dataset()
    shape = replace(known.shape, classes=classes)
    labels = torch.zeros(images, dtype=torch.int64)
    split = Split(torch.empty(images, 1, 8, 8, dtype=torch.uint8, device="meta"), labels, labels)
    return replace(known, shape=shape, train=split)


@pytest.mark.parametrize("precision", ["exact", "float16", "top8", "top2", "top50"])
@pytest.mark.parametrize("classes", [10, 1000, 40_000])
def test_an_image_takes_what_is_packed(precision, classes):
    logits = torch.randn(3, classes)
    kept = pack(Outputs(logits, {}), precision)
    assert sum(value.nbytes for value in kept.values()) == 3 * bytes_of_image(precision, classes)
    largest = unpack(kept, precision, classes).logits.argmax(1)
    assert torch.equal(largest, logits.argmax(1))


def test_imagenet_takes_what_is_reckoned():
    dataset, recipe = large(1_281_167, 1000), Recipe(epochs=100)
    assert run_bytes("exact", dataset, recipe) == pytest.approx(512.5e9, rel=1e-3)
    assert run_bytes("top8", dataset, recipe) == pytest.approx(6.66e9, rel=1e-3)
    sentence = plan_cache(TeacherSpec(), dataset, recipe, OPTIONS)
    assert "1,281,167 images (1,000 classes, teacher.outputs = 'exact') take 512 GB on disk" in sentence
    assert (
        "limit_gb = 10 keeps 2 %, and each trial computes the rest; teacher.outputs = 'top8' takes 6.66 GB" in sentence
    )
    fitting = plan_cache(TeacherSpec(outputs="top8"), dataset, recipe, OPTIONS)
    assert fitting.endswith("take 6.66 GB on disk for the run")


def test_little_is_not_spoken_of():
    assert plan_cache(TeacherSpec(), tiny.dataset(), Recipe(), OPTIONS) == ""
    assert plan_cache(TeacherSpec(), large(1_281_167, 1000), Recipe(), TeacherCacheOptions(keep="off")) == ""


def test_images_that_stand_still_are_kept_once():
    dataset = large(50_000, 1000)
    assert run_bytes("exact", dataset, Recipe(epochs=40, augment="none")) == 200e6
    assert run_bytes("exact", dataset, Recipe(epochs=40, augment="crop")) == 8e9


@pytest.mark.parametrize(
    ("classes", "asked", "keep", "found"),
    [
        (1000, "auto", "logits", "top8"),
        (1000, "auto", "off", "exact"),
        (1000, "float16", "logits", "float16"),
        (3, "auto", "logits", "exact"),
    ],
)
def test_auto_takes_what_fits(classes, asked, keep, found):
    options = TeacherCacheOptions(keep=keep)
    dataset = large(1_281_167, classes)
    assert settle_outputs(TeacherSpec(outputs=asked), dataset, Recipe(epochs=100), options).outputs == found


def test_auto_is_exact_where_all_fits():
    teacher = settle_outputs(TeacherSpec(outputs="auto"), tiny.dataset(), Recipe(), OPTIONS)
    assert teacher.outputs == "exact"
