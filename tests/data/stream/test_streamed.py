"""Sets whose images are decoded as they are needed: the same images, views and digests, wherever the files lie."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from automl_kd.data import Dataset, account_of, division, epoch_order, load_data, plain_view, train_view
from automl_kd.data.images.decode import decode
from automl_kd.data.load_progress import MEASURING
from automl_kd.spec import DataSpec
from tests.data.pictures import fill

SPEC = DataSpec(resolution=16, loading="stream")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("photos") / "set"
    fill(path, ("cat", "dog", "owl"), 11)
    return path


def streamed(path: Path, **changes: Any) -> Dataset:
    return load_data(replace(SPEC, name=f"folder:{path}", **changes), path.parent / "root")


def test_images_come_as_they_are_decoded_from_their_files(photos):
    dataset = streamed(photos)
    train = dataset.train
    assert train.streamed is not None
    assert train.inputs.device.type == "meta"
    rows = torch.tensor([4, 0, 2])
    fit = train.streamed.fit
    files = [train.streamed.encoded.path(int(row)) for row in rows]
    encoded = train.streamed.encoded
    wanted = torch.stack([torch.tensor(decode(encoded, int(row), (16, 16), fit=fit)) for row in rows])
    assert torch.equal(train.pixels_at(rows), wanted)
    assert [file.parent.name for file in files] == [dataset.class_names[label] for label in train.labels[rows]]


def test_names_and_order_of_files_do_not_matter(photos, tmp_path):
    for place, file in enumerate(sorted(photos.rglob("*.png"), reverse=True)):
        target = tmp_path / "other" / file.parent.name / f"{place:03d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    one, two = streamed(photos), streamed(tmp_path / "other")
    assert account_of(one, photos.parent)["digest"] == account_of(two, tmp_path)["digest"]
    for name, split in one.splits.items():
        other, rows = two.splits[name], torch.arange(len(split))
        assert torch.equal(split.labels, other.labels)
        assert torch.equal(split.index, other.index)
        assert torch.equal(split.pixels_at(rows), other.pixels_at(rows))
    assert (one.mean, one.std) == (two.mean, two.std)


def test_many_images_are_measured_once_however_small(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(division, "FEW_IMAGES", 3)
    shutil.copytree(photos, tmp_path / "set")
    spec = replace(SPEC, name=f"folder:{tmp_path / 'set'}")
    seen: list[str] = []

    def load() -> Dataset:
        seen.clear()
        return load_data(spec, tmp_path / "root", notify=lambda what, _done, _of: seen.append(what))

    first = load()
    assert MEASURING in seen
    assert load().mean == first.mean
    assert MEASURING not in seen
    shutil.rmtree(tmp_path / "set" / "owl")
    fill(tmp_path / "set", ("owl",), 12)
    assert load().mean != first.mean
    assert MEASURING in seen


def test_the_account_follows_images_without_labels(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(division, "FEW_IMAGES", 3)
    marks = []
    for count in (2, 3):
        shutil.rmtree(tmp_path / "more", ignore_errors=True)
        fill(tmp_path / "more", ("any",), count)
        dataset = streamed(photos, unlabelled=f"folder:{tmp_path / 'more'}")
        marks.append(account_of(dataset, tmp_path)["unlabelled"])
    assert [one["images"] for one in marks] == [2, 3]
    assert marks[0]["mark"] != marks[1]["mark"]


def test_views_are_those_of_resident_images(photos):
    dataset = streamed(photos)
    rows = torch.arange(len(dataset.train))
    resident = replace(
        dataset,
        train=replace(dataset.train, inputs=dataset.train.pixels_at(rows), streamed=None),
    )
    order = epoch_order(len(rows), seed=3, epoch=2)[:7]
    for augment in ("none", "crop", "crop-flip", "auto"):
        views = [train_view(one, one.train, order, seed=5, epoch=2, augment=augment) for one in (dataset, resident)]
        assert torch.equal(*views)
    assert torch.equal(*(plain_view(one, one.train, order) for one in (dataset, resident)))


def test_parts_of_a_split_are_its_images(photos):
    train = streamed(photos).train
    rows = torch.tensor([5, 1, 7])
    assert torch.equal(train[rows].pixels_at(torch.arange(3)), train.pixels_at(rows))
    assert torch.equal(train[2:6].pixels_at(torch.tensor([3])), train.pixels_at(torch.tensor([5])))


def test_hidden_labels_join_the_transfer_set(photos):
    dataset = streamed(photos, labelled_images=9)
    assert dataset.transfer is not None
    assert len(dataset.train) == 9
    whole = dataset.for_transfer.train
    rows = torch.arange(len(whole))
    assert torch.equal(whole.pixels_at(rows)[:9], dataset.train.pixels_at(rows[:9]))
    account = account_of(dataset, photos.parent)
    assert account["unlabelled"]["images"] == len(whole) - 9


def test_an_image_in_two_splits_is_told(photos, tmp_path):
    for split in ("train", "test"):
        shutil.copytree(photos, tmp_path / "set" / split)
    moved = next((tmp_path / "set/test/cat").iterdir())
    moved.rename(tmp_path / "set/test/dog" / "moved.png")
    account = account_of(streamed(tmp_path / "set"), tmp_path)
    assert "33 of 33 test images are training images too" not in account["line"]  # some are for validation
    found = {(later, earlier): (both, differ) for later, earlier, both, differ in account["shared"]}
    both = [found[("test", "training")], found[("test", "validation")]]
    assert sum(count for count, _ in both) == 33
    assert sum(differ for _, differ in both) == 1
