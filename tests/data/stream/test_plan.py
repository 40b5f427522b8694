"""Random resized crops: as torchvision draws them, and for each image the same whoever draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from automl_kd.data.counter import draw_words, key
from automl_kd.data.fit import Fit
from automl_kd.data.stream.plan import EpochCrops, ViewPlan, halves, largest_middle

PLAN = ViewPlan(24, 20, "random-resized-crop")
DRAWS = 3000


def windows(plan: ViewPlan, width: int, height: int) -> np.ndarray:
    crops = EpochCrops(plan, seed=5, epoch=2)
    return np.array([crops.window(index, width, height) for index in range(DRAWS)])


@pytest.mark.parametrize(("width", "height"), [(500, 375), (100, 400), (30, 30)])
@pytest.mark.parametrize(("scale", "ratio"), [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.5, 0.9), (0.9, 2.0))])
def test_windows_are_distributed_as_those_of_torchvision(width, height, scale, ratio):
    ours = windows(ViewPlan(8, 8, "random-resized-crop", scale=scale, ratio=ratio), width, height)
    image = torch.empty(1, height, width)
    drawn = [RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(DRAWS)]
    theirs = np.array([(left, top, wide, tall) for top, left, tall, wide in drawn])
    for column in range(4):
        # Two samples of n differ by more than 1.95 * sqrt(2 / n) once in a thousand times (Kolmogorov, Smirnov).
        values = np.union1d(ours[:, column], theirs[:, column])
        parts = [np.searchsorted(np.sort(one[:, column]), values, "right") / DRAWS for one in (ours, theirs)]
        assert np.abs(parts[0] - parts[1]).max() < 1.95 * math.sqrt(2 / DRAWS)


def test_windows_lie_in_the_image_and_half_are_mirrored():
    left, top, wide, tall, mirror = windows(PLAN, 60, 47).T
    assert min(left.min(), top.min()) == 0
    assert (left + wide).max() == 60
    assert (top + tall).max() == 47
    assert abs(mirror.mean() - 0.5) < 0.04
    assert not windows(ViewPlan(8, 8, "random-resized-crop", flip=False), 60, 47)[:, 4].any()


def test_mirroring_is_independent_of_the_window():
    drawn = windows(PLAN, 500, 375).astype(float)
    assert np.abs(np.corrcoef(drawn.T)[4, :4]).max() < 0.06


@pytest.mark.parametrize(
    ("size", "found"),
    [((100, 1000), (100, 133)), ((1000, 99), (132, 99)), ((50, 40), (50, 40)), ((1, 1), (1, 1)), ((1, 500), (1, 1))],
)
def test_where_no_attempt_fits_it_is_the_largest_middle(size, found):
    # 100 / (3/4) = 133.3 and 99 * 4/3 = 132
    assert largest_middle(size[0], size[1], (3 / 4, 4 / 3)) == found
    if found != size:
        plan = ViewPlan(8, 8, "random-resized-crop", scale=(1.0, 1.0))
        left, top, wide, tall, _ = EpochCrops(plan, seed=0, epoch=0).window(3, *size)
        assert (left, top) == ((size[0] - wide) // 2, (size[1] - tall) // 2)
        assert (wide, tall) == found


def test_epochs_seeds_and_images_have_windows_of_their_own():
    drawn = {
        EpochCrops(PLAN, seed=seed, epoch=epoch).window(index, 1000, 1000)
        for seed in (0, 1)
        for epoch in (0, 1)
        for index in range(20)
    }
    assert len(drawn) == 80


def test_halves_are_those_of_the_counter_words():
    stream, counters = key(1, 2, 3), torch.tensor([0, 1, 77, 2**40])
    for counter, drawn in zip(counters.tolist(), draw_words(stream, counters).tolist(), strict=True):
        low, high = halves(stream, counter)
        assert (high << 32) + low == drawn % 2**64


@pytest.mark.parametrize("plan", [PLAN, ViewPlan.middle((16, 16), Fit(16, 0.875, "bicubic", "squash"))])
def test_a_plan_is_plain_values(plan):
    assert ViewPlan.from_json(plan.to_json()) == plan


def test_a_plan_keeps_the_fit():
    fit = Fit(16, 0.875, "bicubic", "transformers")
    assert ViewPlan.middle((16, 16), fit).fit == fit
    assert ViewPlan.middle((20, 16), Fit()).fit == Fit()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"height": 0}, "at least one pixel, got 0x8"),
        ({"kind": "random"}, "got 'random'"),
        ({"kind": "middle", "height": 9}, "a square, got 9x8"),
        ({"scale": (0.5, 0.2)}, "the smaller one first"),
        ({"scale": (0.0, 1.0)}, r"in \(0, 1\]"),
        ({"ratio": (0.0, 1.0)}, "two positive numbers"),
    ],
)
def test_a_plan_that_is_none_is_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        ViewPlan(**{"height": 8, "width": 8, "kind": "random-resized-crop", **fields})
