"""Views are what Pillow and torchvision make of whole images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import hflip, pil_to_tensor, resized_crop

from automl_kd.data.encoded.ranges import WHOLE_FILE, EncodedImages
from automl_kd.data.fit import Fit
from automl_kd.data.images.decode import decode
from automl_kd.data.stream.decoder import DecodeMode
from automl_kd.data.stream.plan import EpochCrops, ViewPlan
from automl_kd.data.stream.render import ViewMaker, resize_part
from automl_kd.errors import DataError
from tests.data.stream.samples import CROPS, jpeg, picture


def files(folder: Path, *sizes: tuple[int, int]) -> list[Path]:
    paths = [folder / f"{number}.jpg" for number in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        path.write_bytes(jpeg(picture(*size, seed=size[0]), quality=90))
    return paths


def maker(paths: list[Path], plan: ViewPlan, mode: DecodeMode = "exact") -> ViewMaker:
    zeros = np.zeros(len(paths), np.int64)
    images = EncodedImages.of(paths, np.arange(len(paths)), zeros, zeros + WHOLE_FILE, zeros)
    return ViewMaker(images, np.arange(len(paths)) + 7, plan, 0.0, mode)


def view(views: ViewMaker, row: int = 0, *, seed: int = 1, epoch: int = 1) -> np.ndarray:
    planes = views.planes(row, views.crops(seed=seed, epoch=epoch))
    return np.frombuffer(b"".join(planes), np.uint8).reshape(3, views.plan.height, views.plan.width)


@pytest.mark.parametrize(
    "fit",
    [
        Fit(24),
        Fit(24, 0.875),
        Fit(16, 0.9, "bicubic", "torchvision"),
        Fit(16, 1.0, "box", "squash"),
        Fit(20, 0.8, "lanczos", "transformers"),
    ],
)
def test_middles_are_those_of_sets_in_memory(tmp_path, fit):
    paths = files(tmp_path, (40, 61), (97, 30), (24, 24), (10, 12))
    views = maker(paths, ViewPlan.middle((fit.size, fit.size), fit))
    for row in range(len(paths)):
        wanted = decode(views.images, row, (fit.size, fit.size), fit=fit)
        np.testing.assert_array_equal(view(views, row), wanted)


def test_images_of_one_size_stay_as_they_are(tmp_path):
    paths = files(tmp_path, (20, 31), (20, 30))
    views = maker(paths, ViewPlan.middle((20, 31), Fit()))
    np.testing.assert_array_equal(view(views), decode(views.images, 0, (20, 31), fit=Fit()))
    with pytest.raises(DataError, match=r"1.jpg has 20x30 pixels where another has 20x31; set data.resolution"):
        view(views, 1)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "box"])
def test_crops_are_those_of_torchvision(tmp_path, interpolation):
    (path,) = files(tmp_path, (83, 120))
    plan = ViewPlan(20, 16, "random-resized-crop", interpolation)
    views = maker([path], plan)
    for epoch in range(8):
        window = EpochCrops(plan, seed=1, epoch=epoch).window(7, 120, 83)
        with Image.open(path) as image:
            cut = resized_crop(
                image.convert("RGB"), window.top, window.left, window.height, window.width, [20, 16],
                InterpolationMode(interpolation),
            )  # fmt: skip
        expected = pil_to_tensor(hflip(cut) if window.mirror else cut)
        assert torch.equal(torch.tensor(view(views, epoch=epoch)), expected)


@pytest.mark.parametrize("plan", [ViewPlan(16, 16), CROPS])
def test_scaled_decoding_gives_nearly_the_same_view(tmp_path, plan):
    (path,) = files(tmp_path, (203, 310))
    for epoch in range(5):
        exact, scaled = (view(maker([path], plan, mode), epoch=epoch).astype(int) for mode in ("exact", "scaled"))
        assert 0 < np.abs(exact - scaled).mean() < 6


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("side", [4, 8, 24])
def test_a_part_of_a_reduced_image_is_resized_without_what_is_around(factor, side):
    pixels = np.full((32, 40, 3), 255, np.uint8)
    pixels[8:16, 16:28] = 0
    reduced, filter_ = Image.fromarray(pixels), Image.Resampling.BILINEAR
    whole = resize_part(reduced, (16 * factor, 8 * factor, 28 * factor, 16 * factor), factor, (side, side), filter_)
    assert not np.asarray(whole).any()
    # One pixel of the picture more is a part of a white pixel of the reduced one.
    wider = resize_part(reduced, (16 * factor, 8 * factor, 28 * factor + 1, 16 * factor), factor, (side, side), filter_)
    assert np.asarray(wider)[:, -1].all()
    assert not np.asarray(wider)[:, 0].any()


def test_scaled_decoding_leaves_small_images_alone(tmp_path):
    (path,) = files(tmp_path, (31, 30))
    exact, scaled = (view(maker([path], ViewPlan(16, 16), mode)) for mode in ("exact", "scaled"))
    np.testing.assert_array_equal(exact, scaled)


def test_an_image_that_is_gone_or_none_is_named(tmp_path):
    paths = files(tmp_path, (30, 30), (30, 30))
    views = maker(paths, CROPS)
    paths[0].unlink()
    paths[1].write_bytes(b"no image")
    with pytest.raises(DataError, match=r"0\.jpg cannot be read: No such file"):
        view(views, 0)
    with pytest.raises(DataError, match=r"1\.jpg could not be decoded as an image"):
        view(views, 1)
