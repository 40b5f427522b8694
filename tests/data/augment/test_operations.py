"""Operations on bytes: what torchvision makes of the same images, and small ones worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from torch import Tensor

from automl_kd.data.augment import operations
from automl_kd.data.augment.operations import ONE
from automl_kd.data.augment.policies import (
    NAMES,
    apply_operations,
    apply_policy,
    change_where,
    matrix_of,
    number_of,
)
from automl_kd.spec import Recipe


def noise(count: int = 6, channels: int = 3, height: int = 17, width: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (count, channels, height, width), generator=generator)
    return (images * torch.linspace(0.3, 1, count).view(-1, 1, 1, 1)).to(torch.uint8)


def near(found: Tensor, expected: Tensor, shades: int = 1) -> None:
    assert found.dtype == torch.uint8
    assert (found.int() - expected.int()).abs().max() <= shades


def whole(value: float, count: int = 6) -> Tensor:
    return torch.full((count,), round(value * ONE))


@pytest.mark.parametrize("factor", [0.1, 0.64, 1.0, 1.9])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (operations.brightness, tv.adjust_brightness),
        (operations.contrast, tv.adjust_contrast),
        (operations.saturation, tv.adjust_saturation),
        (operations.sharpness, tv.adjust_sharpness),
    ],
)
def test_factors_do_what_torchvision_does(ours, theirs, factor):
    # Its shades of grey are rounded down, and multiplied by at most 0.9 of the factor; ours are rounded.
    near(ours(noise(), whole(factor)), theirs(noise(), factor), shades=2)


@pytest.mark.parametrize("ours", [operations.brightness, operations.contrast, operations.saturation])
def test_a_factor_of_one_changes_nothing(ours):
    assert torch.equal(ours(noise(), whole(1)), noise())


def test_levels_are_those_of_torchvision():
    images, unused = noise(), torch.zeros(6)
    assert torch.equal(operations.posterize(images, torch.full((6,), 3)), tv.posterize(images, 3))
    assert torch.equal(operations.solarize(images, torch.full((6,), 90)), tv.solarize(images, 90))
    assert torch.equal(operations.equalize(images, unused), tv.equalize(images))
    near(operations.autocontrast(images, unused), tv.autocontrast(images))


def test_an_image_of_one_shade_is_left_as_it_is():
    plain = torch.full((2, 3, 4, 4), 77, dtype=torch.uint8)
    for change in (operations.autocontrast, operations.equalize):
        assert torch.equal(change(plain, torch.zeros(2)), plain)


@pytest.mark.parametrize("shift", [-0.5, -0.21, 0.0, 0.1, 0.5])
def test_hues_turn_as_in_torchvision(shift):
    near(operations.shift_hue(noise(), torch.full((6,), shift)), tv.adjust_hue(noise(), shift), shades=2)


def test_a_pure_red_turned_by_a_third_is_green():
    red = torch.tensor([200, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    assert operations.shift_hue(red, torch.tensor([1 / 3])).flatten().tolist() == [0, 200, 0]


def theirs(name: str, image: Tensor, value: float) -> Any:
    """The geometry of torchvision's policies."""
    plain = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    degrees = math.degrees(math.atan(value))
    if name == "shear_x":
        return tv.affine(image, **{**plain, "shear": [degrees, 0.0]}, center=[0, 0])
    if name == "shear_y":
        return tv.affine(image, **{**plain, "shear": [0.0, degrees]}, center=[0, 0])
    if name == "translate_x":
        return tv.affine(image, **{**plain, "translate": [int(value), 0]})
    if name == "translate_y":
        return tv.affine(image, **{**plain, "translate": [0, int(value)]})
    return tv.rotate(image, value)


@pytest.mark.parametrize("step", [1, 13, 30])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", ["shear_x", "shear_y", "translate_x", "translate_y", "rotate"])
def test_geometry_moves_pixels_as_torchvision_does(name, sign, step):
    images = noise(height=41, width=36)
    most = {"shear_x": 0.3, "shear_y": 0.3, "translate_x": 150 / 331 * 36, "translate_y": 150 / 331 * 41, "rotate": 30}
    source = torch.tensor([matrix_of("rand", name, step, sign, (41, 36))]).expand(6, -1)
    moved, expected = operations.move(images, source), theirs(name, images, sign * most[name] * step / 30)
    # On a tie between two pixels the rounding of its floats decides.
    assert (moved == expected).float().mean() > (0.97 if name == "rotate" else 0.999)


def test_numbers_of_magnitudes_by_hand():
    # a third of the way: 1 + 0.9 / 3, 8 - 4 / 3 rounded, 255 * 2 / 3
    assert number_of("rand", "brightness", 10, 1) == round(1.3 * ONE)
    assert number_of("rand", "brightness", 10, -1) == round(0.7 * ONE)
    assert number_of("rand", "posterize", 10, 1) == 7
    assert number_of("rand", "solarize", 10, 1) == 170
    assert number_of("trivial", "sharpness", 30, 1) == round(1.99 * ONE)


def test_every_operation_is_reached_and_identity_changes_nothing():
    images = noise(count=len(NAMES), height=40)
    chosen = torch.arange(len(NAMES))
    found = apply_operations(images.clone(), "rand", chosen, torch.full_like(chosen, 20), torch.zeros_like(chosen))
    changed = [not torch.equal(one, two) for one, two in zip(found, images, strict=True)]
    assert changed == [False] + [True] * (len(NAMES) - 1)


def test_all_at_once_is_what_is_chosen_one_by_one():
    # On a GPU operations are carried out on all images; the tensors of this device are only called so.
    class Elsewhere:
        type = "cuda"

    class Named(Tensor):
        device = Elsewhere()  # type: ignore[assignment]  # only its type is looked at

    chosen = torch.arange(40) % 5 == 1
    factor = torch.arange(40) * 3000
    here = change_where(noise(40), chosen, operations.contrast, factor)
    plain = noise(40)
    there = change_where(plain.as_subclass(Named), chosen, lambda images, by: operations.contrast(plain, by), factor)
    assert torch.equal(there.as_subclass(Tensor), here)


@pytest.mark.parametrize("policy", ["rand", "trivial"])
def test_operations_are_drawn_evenly_and_never_past_their_ends(policy):
    counters = torch.arange(4000)
    images = torch.full((4000, 1, 2, 2), 100, dtype=torch.uint8)
    found = apply_policy(images.clone(), Recipe(policy=policy, policy_ops=1, policy_magnitude=30), 5, counters)
    # Of fourteen operations, brightness, solarize, posterize and geometry change a grey image of one shade.
    share = (found != images).flatten(1).any(1).float().mean()
    assert 0.2 < share < 0.75
