"""Torch Datasets that are read from files: torchvision's folders as they are, large ones as a pack."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset
from torchvision.datasets import ImageFolder

from automl_kd import memory
from automl_kd.api.images import name_data
from automl_kd.data import load_data
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec
from tests.api import objects
from tests.data.pictures import fill


@pytest.fixture
def photos(tmp_path) -> Path:
    top: Path = tmp_path / "photos"
    for part, count in (("train", 6), ("val", 2), ("test", 3)):
        fill(top / part, ("ant", "bee"), count)
    return top


def test_image_folders_are_the_folder_itself(tmp_path, photos):
    parts = {name: ImageFolder(photos / part) for name, part in (("train", "train"), ("val", "val"), ("test", "test"))}
    assert name_data(parts, tmp_path / "out") == {"name": f"folder:{photos}"}
    assert name_data(ImageFolder(photos / "train"), tmp_path / "out") == {"name": f"folder:{photos / 'train'}"}
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_test_part_is_tested_on_its_validation_images(tmp_path, photos):
    shutil.rmtree(photos / "test")
    parts = {"train": ImageFolder(photos / "train"), "test": ImageFolder(photos / "val")}
    assert name_data(parts, tmp_path / "out") == {"name": f"folder:{photos}"}
    found = load_data(DataSpec(name=f"folder:{photos}", resolution=8, validation=0.2), tmp_path)
    assert len(found.test) == 4


def test_images_of_several_sizes_become_a_pack(tmp_path, photos):
    Image.new("RGB", (40, 31), "red").save(photos / "train" / "ant" / "wide.png")
    given = {"train": Subset(ImageFolder(photos / "train"), range(13)), "test": ImageFolder(photos / "test")}
    named = name_data(given, tmp_path / "out")
    assert named["name"].startswith("pack:")
    assert len(load_data(DataSpec(**named, resolution=8), tmp_path).train) + 1 >= 12
    with pytest.raises(DataError, match="resize all to one size"):
        name_data({"train": given["train"], "validation": given["test"]}, tmp_path / "out")


@pytest.mark.parametrize("case", ["transform", "loader", "fewer", "subclass", "part", "no test"])
def test_other_image_folders_are_read_item_by_item(tmp_path, photos, case):
    class Own(ImageFolder):  # type: ignore[misc]  # torchvision has no types
        pass

    given: object = {
        "transform": lambda: ImageFolder(photos / "train", transform=lambda image: image.rotate(90)),
        "loader": lambda: ImageFolder(photos / "train", loader=lambda path: Image.open(path).convert("L")),
        "fewer": lambda: ImageFolder(photos / "train", is_valid_file=lambda path: "3" not in Path(path).name),
        "subclass": lambda: Own(photos / "train"),
        "part": lambda: {"train": ImageFolder(photos / "train"), "test": ImageFolder(photos / "test")},
        "no test": lambda: {"train": ImageFolder(photos / "train"), "val": ImageFolder(photos / "val")},
    }[case]()
    assert name_data(given, tmp_path)["name"].startswith("arrays:")


def test_what_would_fill_the_memory_becomes_a_pack(tmp_path, monkeypatch):
    parts = {"train": objects.Stripes(60, 0), "validation": objects.Stripes(9, 1), "test": objects.Stripes(30, 2)}
    expected = load_data(DataSpec(**name_data(parts, tmp_path)), tmp_path)
    monkeypatch.setattr(memory, "machine_bytes", lambda: 2 * 99 * 8 * 8 - 1)
    named = [name_data(parts, tmp_path) for _ in range(2)]
    assert named[0] == named[1]
    assert named[0]["name"].startswith("pack:")
    found = load_data(DataSpec(**named[0]), tmp_path)
    for name, split in expected.splits.items():
        assert torch.equal(found.splits[name].inputs[:, :1], split.inputs)  # grey, as colour
        assert torch.equal(found.splits[name].labels, split.labels)
    assert [path.suffix for path in (tmp_path / "_objects").iterdir() if path.is_dir()] == [".pack"]


def test_a_pack_wants_a_part_to_test_on_and_one_kind_of_items(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "machine_bytes", lambda: 1)
    with pytest.raises(DataError, match="too many for one array and have no part to test on; give a part test too"):
        name_data({"train": objects.Stripes(60, 0), "val": objects.Stripes(9, 1)}, tmp_path)
    pairs = [(np.zeros((8, 8), np.uint8), 0), (np.zeros((8, 8), np.uint8), -1)]
    with pytest.raises(DataError, match="data has the label -1; number the classes from 0"):
        name_data(pairs, tmp_path)
