"""Augmented views: cuts and erased rectangles by hand, and the same view of an image in any batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_kd.data import augmented_view, epoch_rows, train_view
from automl_kd.data.augment.rectangles import Rectangles, draw_rectangles, erase, random_resized_crop, resize_cuts
from automl_kd.spec import Recipe
from tests import tiny

FULL = Recipe(
    batch_size=8,
    augment="random-resized-crop",
    policy="rand",
    jitter=0.4,
    hue=0.2,
    erasing=0.5,
    repeats=2,
)
RECIPES = [
    FULL,
    Recipe(augment="random-resized-crop", crop_scale=0.3, crop_ratio=1.5),
    Recipe(policy="trivial"),
    Recipe(policy="rand", policy_ops=3, policy_magnitude=25, augment="crop-flip"),
    Recipe(jitter=1.0, hue=0.5, augment="none"),
    Recipe(erasing=1.0),
]


def coloured():
    """Noise in three colours, as a data set."""
    plain = tiny.dataset()
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (96, 3, 9, 8), dtype=torch.uint8, generator=generator)
    split = replace(plain.train, inputs=images)
    shape = replace(plain.shape, channels=3, height=9)
    return replace(
        plain, shape=shape, train=split, validation=split, test=split, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)
    )


def test_a_recipe_that_asks_for_nothing_more_makes_the_views_of_earlier_releases():
    dataset = tiny.dataset()
    for augment in ("auto", "none", "crop", "crop-flip"):
        expected = train_view(dataset, dataset.train, torch.arange(96), augment=augment, seed=4, epoch=2)
        found = augmented_view(dataset, dataset.train, torch.arange(96), Recipe(augment=augment), seed=4, epoch=2)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("recipe", RECIPES)
@given(rows=st.lists(st.integers(0, 95), min_size=1, max_size=30), epoch=st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_a_view_does_not_depend_on_its_batch(recipe, rows, epoch):
    dataset = coloured()
    whole = augmented_view(dataset, dataset.train, torch.arange(96), recipe, seed=7, epoch=epoch)
    found = augmented_view(dataset, dataset.train, torch.tensor(rows), recipe, seed=7, epoch=epoch)
    assert torch.equal(found, whole[torch.tensor(rows)])


@pytest.mark.parametrize("recipe", RECIPES)
def test_views_change_with_the_seed_and_the_epoch(recipe):
    dataset, rows = coloured(), torch.arange(96)
    views = [
        augmented_view(dataset, dataset.train, rows, recipe, seed=seed, epoch=epoch)
        for seed, epoch in ((1, 1), (1, 2), (2, 1))
    ]
    assert all(not torch.equal(views[0], other) for other in views[1:])


def test_what_is_kept_of_the_images_is_not_overwritten():
    dataset = coloured()
    before = dataset.train.inputs.clone()
    augmented_view(dataset, dataset.train, torch.arange(96), FULL, seed=1, epoch=1)
    assert torch.equal(dataset.train.inputs, before)


def test_repeats_are_other_views_of_the_same_images():
    dataset = coloured()
    rows = epoch_rows(96, FULL, seed=0, epoch=1)
    images = rows % 96
    assert len(rows) == 96
    assert torch.equal(images[::2], images[1::2])
    assert len(images.unique()) == 48
    views = augmented_view(dataset, dataset.train, rows, FULL, seed=0, epoch=1)
    assert (views[::2] != views[1::2]).flatten(1).any(1).float().mean() > 0.9


@pytest.mark.parametrize(("count", "repeats", "batch"), [(96, 3, 12), (95, 4, 8), (10, 2, 4)])
def test_an_epoch_keeps_its_length_whatever_the_repeats(count, repeats, batch):
    rows = epoch_rows(count, Recipe(batch_size=batch, repeats=repeats), seed=2, epoch=3)
    assert len(rows) == len(rows.unique()) == count
    for piece in rows[: count // batch * batch].view(-1, batch):
        assert sorted((piece // count).tolist()) == sorted([*range(repeats)] * (batch // repeats))


def cut(top: int, left: int, height: int, width: int) -> Rectangles:
    one, two, three, four = (torch.tensor([value]) for value in (top, left, height, width))
    return Rectangles(one, two, three, four, torch.tensor([True]), torch.tensor([0]))


def test_a_cut_of_two_pixels_by_hand():
    # 0 and 80 over four pixels: centres at 1/4, 3/4, 5/4, 7/4 of a pixel, so 0, 1/4, 3/4 and all of the way
    images = torch.tensor([[9, 0, 80, 9]], dtype=torch.uint8).view(1, 1, 1, 4)
    found = resize_cuts(images, cut(0, 1, 1, 2), mirror=torch.tensor([0]))
    assert found.flatten().tolist() == [0, 20, 60, 80]
    assert resize_cuts(images, cut(0, 1, 1, 2), mirror=torch.tensor([1])).flatten().tolist() == [80, 60, 20, 0]


def test_cuts_are_what_interpolation_makes_of_them():
    images = coloured().train.inputs
    drawn = draw_rectangles(3, torch.arange(96), (9, 8), (0.08, 1.0), 4 / 3)
    found = resize_cuts(images, drawn, mirror=torch.zeros(96, dtype=torch.int64))
    for image, one, top, left, height, width in zip(images, found, *drawn[:4], strict=True):
        part = image[None, :, top : top + height, left : left + width].float()
        expected = F.interpolate(part, (9, 8), mode="bilinear", antialias=True)[0]
        assert (one.float() - expected).abs().max() <= 1


def test_rectangles_lie_inside_and_have_their_areas_and_ratios():
    drawn = draw_rectangles(1, torch.arange(5000), (60, 80), (0.2, 0.5), 2.0)
    assert bool(drawn.found.all())
    assert bool((drawn.top >= 0).all())
    assert bool((drawn.top + drawn.height <= 60).all())
    assert bool((drawn.left >= 0).all())
    assert bool((drawn.left + drawn.width <= 80).all())
    area, ratio = drawn.height * drawn.width / 4800, drawn.width / drawn.height
    assert 0.18 < area.min() < 0.21
    assert 0.45 < area.max() < 0.52
    assert ratio.min() < 0.6
    assert 1.5 < ratio.max() < 2.2
    assert drawn.left.min() == 0
    assert drawn.top.min() == 0


def test_where_no_try_lies_inside_the_image_is_taken_whole():
    # a ratio of 9 and more does not fit into an image of 8 by 9 with all of its area
    drawn = draw_rectangles(1, torch.arange(300), (2, 40), (1.0, 1.0), 1.0)
    assert not drawn.found.any()
    assert drawn.height.unique().tolist() == [2]
    assert drawn.width.unique().tolist() == [40]
    images = torch.arange(80, dtype=torch.uint8).view(1, 1, 2, 40)
    found = random_resized_crop(images, 1, torch.tensor([0]), 1.0, 1.0)
    assert any(torch.equal(found, one) for one in (images, images.flip(3)))


def test_erased_rectangles_have_their_colour_and_probability():
    images = torch.zeros(2000, 2, 16, 16, dtype=torch.uint8)
    colour = torch.tensor([7, 9], dtype=torch.uint8)
    found = erase(images, (1, 2), torch.arange(2000), 0.25, colour)
    erased = (found == colour.view(1, 2, 1, 1)).all(1)
    share = erased.flatten(1).any(1).float().mean().item()
    assert 0.2 < share < 0.3
    assert set(found[:, 0].unique().tolist()) == {0, 7}
    parts = erased.flatten(1).float().mean(1)
    assert parts.max() < 0.4
    assert parts[parts > 0].min() > 0.01
    assert torch.equal(erase(images, (1, 2), torch.arange(2000), 0.0, colour), images)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="compares a GPU with the CPU, and there is none here")
@pytest.mark.parametrize("recipe", RECIPES)
def test_views_are_equal_bit_for_bit_on_a_gpu(recipe):
    here = coloured()
    there, rows = here.to("cuda"), torch.arange(96)
    expected = augmented_view(here, here.train, rows, recipe, seed=2, epoch=3)
    found = augmented_view(there, there.train, rows.to("cuda"), recipe, seed=2, epoch=3)
    assert torch.equal(found.cpu(), expected)
