"""Ordinary sets keep their digests and their division: names of trials and results on disk hang on both."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from automl_kd.data import Dataset, digest_dataset, load_data
from automl_kd.spec import DataSpec
from tests.data.test_cifar import publish

SIZE = 12


def picture(number: int, label: int, *, mode: str = "RGB") -> Image.Image:
    """Every byte by arithmetic, so that no generator of random numbers has a say."""
    at = np.arange(SIZE * SIZE * 3).reshape(SIZE, SIZE, 3)
    pixels = (at * 7 + number * 31 + label * 101) % 256
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def write(folder: Path, count: int, *, first: int = 0, suffix: str = "png", mode: str = "RGB") -> None:
    for label, name in enumerate(("ant", "bee", "Cow")):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture(first + number, label, mode=mode).save(folder / name / f"{number:02d}.{suffix}")


def division(dataset: Dataset) -> str:
    """Which image is where, and under which label, in eight hex digits."""
    whole = hashlib.sha256()
    for split in (dataset.train, dataset.validation, dataset.test):
        whole.update(f"{split.index.tolist()} {split.labels.tolist()}\n".encode())
    return whole.hexdigest()[:8]


@pytest.mark.parametrize(
    ("splits", "how", "options", "expected"),
    [
        (("",), {}, {}, "8a1737d6f0c55b92 2559cb31"),
        (("train", "test"), {}, {"resolution": 8}, "023b084449b5dc4b 1fe390ce"),
        (("train", "val"), {"suffix": "BMP"}, {"split_seed": 3}, "ee5123f1e41bf231 35a9ad32"),
        (("train", "val", "test"), {"mode": "L"}, {"train_images": 9}, "28e63d8998569c79 6ea7dcd1"),
        (("train", "test"), {"mode": "RGBA"}, {"validation": 0.25}, "0178eab611227740 1264c1fb"),
    ],
)
def test_folders(tmp_path, splits, how, options, expected):
    for place, split in enumerate(splits):
        write(tmp_path / "set" / split, 4 if place else 10, first=100 * place, **how)
    found = load_data(DataSpec(name=f"folder:{tmp_path / 'set'}", **options), tmp_path)
    assert f"{digest_dataset(found)} {division(found)}" == expected


def test_arrays(tmp_path):
    images: Any = np.stack([np.asarray(picture(number, number % 3)) for number in range(40)])
    labels = np.arange(40) % 3
    path = tmp_path / "set.npz"
    np.savez(path, x_train=images[:30], y_train=labels[:30], x_test=images[30:], y_test=labels[30:])
    found = load_data(DataSpec(name=f"arrays:{path}"), tmp_path)
    assert f"{digest_dataset(found)} {division(found)}" == "050a8cffe99254c9 0c782a07"


def test_digits(tmp_path):
    found = load_data(DataSpec(), tmp_path)
    assert f"{digest_dataset(found)} {division(found)}" == "c5aafcc9f4ac255a f666ffe9"
    larger = load_data(DataSpec(resolution=16, train_images=200), tmp_path)
    assert division(larger) == "346a8abb"


def test_cifar(tmp_path, monkeypatch):
    publish(monkeypatch, tmp_path, "CIFAR10", "labels", classes=4)
    found = load_data(DataSpec(name="cifar10"), tmp_path)
    assert f"{digest_dataset(found)} {division(found)}" == "6daccfee478c0592 c78a27f1"
