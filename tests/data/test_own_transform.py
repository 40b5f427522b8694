"""`data.transform`: the user's own augmentation, image by image, in place of the recipe's."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from automl_kd.data import augmented_view, load_data, resolve_path
from automl_kd.data.own_transform import OwnTransform, pin_transform
from automl_kd.data.views import normalize_images
from automl_kd.errors import ConfigError, UnknownNameError
from automl_kd.spec import DataSpec, Recipe
from automl_kd.storage import content_hash
from tests import tiny

FLIPS, DARKEN = (f"tests.data.own_transforms:{name}" for name in ("flips", "darken"))


def dataset(name: str):
    return dataclasses.replace(tiny.dataset(), transform=OwnTransform.load(name))


@pytest.mark.parametrize("name", [FLIPS, DARKEN])
def test_a_view_depends_on_seed_epoch_and_image_alone(name):
    data, recipe = dataset(name), Recipe(policy="trivial", augment="crop")
    state = torch.get_rng_state()
    whole = augmented_view(data, data.train, torch.arange(96), recipe, seed=3, epoch=2)
    assert torch.equal(torch.get_rng_state(), state)
    for rows in (torch.tensor([5]), torch.tensor([40, 5, 17])):
        torch.rand(3)  # another state of the generator
        assert torch.equal(augmented_view(data, data.train, rows, recipe, seed=3, epoch=2), whole[rows])
    assert not torch.equal(augmented_view(data, data.train, torch.arange(96), recipe, seed=3, epoch=3), whole)


def test_the_recipe_augments_nothing_beside_it():
    data = dataset(DARKEN)
    found = augmented_view(data, data.train, torch.arange(96), Recipe(augment="crop", erasing=1.0), seed=3, epoch=2)
    darker = [normalize_images(data, data.train.inputs // factor) for factor in (1, 2, 3, 4)]
    equal = torch.stack([(found == one).flatten(1).all(1) for one in darker])
    assert bool(equal.any(0).all())
    assert bool(equal.any(1).all())


def test_the_key_follows_the_module_and_not_its_place(monkeypatch, tmp_path):
    pinned = pin_transform(DARKEN)
    assert pinned.startswith(f"{DARKEN}@sha256-")
    assert pin_transform(pinned) == pinned
    spec = resolve_path(DataSpec(name="digits", transform=DARKEN))
    assert spec.transform == pinned
    assert content_hash.by_content(pinned) == pinned
    with pytest.raises(ConfigError, match="has changed since this experiment began; put the old content back"):
        pin_transform(pinned[:-1] + ("0" if pinned[-1] != "0" else "1"))


def test_a_set_is_loaded_with_its_transform(tmp_path):
    found = load_data(dataclasses.replace(tiny.DATA, transform=FLIPS), tmp_path)
    assert isinstance(found.transform, OwnTransform)
    assert found.for_transfer.to("cpu").transform is found.transform


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("floats", r"returned torch.float32 \(2, 1, 8, 8\) for uint8 \(2, 1, 8, 8\); let it return images of the same"),
        ("fails", r"failed \(RuntimeError: no such colour\); let it take and return uint8 images"),
        ("number", "is int; name a function of"),
        ("Tensor", "is a class; name a function of"),
    ],
)
def test_what_is_no_transform_is_refused_when_the_set_is_loaded(tmp_path, name, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_data(dataclasses.replace(tiny.DATA, transform=f"tests.data.own_transforms:{name}"), tmp_path)


def test_a_name_that_leads_nowhere_is_refused():
    with pytest.raises(UnknownNameError, match="has no 'flip'; did you mean 'flips'"):
        resolve_path(DataSpec(transform="tests.data.own_transforms:flip"))
    with pytest.raises(ValueError, match="transform_deterministic is about transform, and there is none"):
        DataSpec(transform_deterministic=True)


def test_only_a_deterministic_one_can_be_cached():
    assert DataSpec().repeatable
    assert not DataSpec(transform=FLIPS).repeatable
    assert DataSpec(transform=FLIPS, transform_deterministic=True).repeatable
