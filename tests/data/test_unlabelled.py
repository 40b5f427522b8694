"""Images without labels: hidden labels of the set, other folders and archives, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from automl_kd.data import UNLABELLED, account_of, digest_dataset, load_data
from automl_kd.errors import DataError
from automl_kd.results.store.account import changes
from automl_kd.spec import DataSpec
from tests.data.pictures import fill


def digits(**options):
    return load_data(DataSpec(name="digits", **options), Path("data"))


def test_hidden_labels_leave_the_division_as_it_is():
    whole, few = digits(), digits(labelled_images=100)
    assert len(few.train) == 100
    assert few.transfer is not None
    assert len(few.transfer) == len(whole.train)
    assert torch.equal(few.transfer.index.sort().values, whole.train.index)
    for name in ("validation", "test"):
        assert torch.equal(getattr(few, name).inputs, getattr(whole, name).inputs)
    order = few.transfer.index.argsort()
    assert torch.equal(few.transfer.inputs[order], whole.train.inputs)
    labels = few.transfer.labels[order]
    assert ((labels == whole.train.labels) | (labels == UNLABELLED)).all()
    assert (few.transfer.labels[:100] >= 0).all()
    assert (few.transfer.labels[100:] == UNLABELLED).all()
    # Ten classes of nearly equal size.
    assert torch.bincount(few.train.labels).tolist() == [10] * 10


def test_more_labels_include_the_fewer():
    fewer, more = digits(labelled_images=100), digits(labelled_images=200)
    assert set(fewer.train.index.tolist()) < set(more.train.index.tolist())


def test_all_labels_are_the_set_without_the_option():
    count = len(digits().train)
    assert digits(labelled_images=count).transfer is None
    assert digest_dataset(digits(labelled_images=count)) == digest_dataset(digits())
    assert digest_dataset(digits(labelled_images=100)) != digest_dataset(digits())


@pytest.mark.parametrize("count", [9, 10_000])
def test_too_few_or_too_many_labels_are_refused(count):
    with pytest.raises(DataError, match=rf"^data.labelled_images = {count}, but digits has 10 classes and 1294 images"):
        digits(labelled_images=count)


def test_for_transfer_every_image_is_trained_on_and_moves_with_the_set():
    few = digits(labelled_images=100).to("cpu")
    assert len(few.for_transfer.train) == len(digits().train)
    assert few.for_transfer is few.for_transfer
    assert few.train.inputs.data_ptr() == few.for_transfer.train.inputs.data_ptr()  # one copy of the pixels
    assert digits().for_transfer.train is not None


@pytest.mark.parametrize("nested", [False, True])
def test_a_folder_of_images_without_labels(tmp_path, nested):
    fill(tmp_path / "set" / "train", ("ant", "bee"), 6)
    fill(tmp_path / "set" / "test", ("ant", "bee"), 3)
    fill(tmp_path / "more" if nested else tmp_path / "flat", ("x", "y") if nested else (".",), 4)
    (tmp_path / ("more" if nested else "flat") / "read.me").write_text("no image")
    spec = DataSpec(name=f"folder:{tmp_path / 'set'}", unlabelled=f"folder:{tmp_path / ('more' if nested else 'flat')}")
    found = load_data(spec, tmp_path)
    assert found.unlabelled is not None
    assert len(found.unlabelled) == (8 if nested else 4)
    assert (found.unlabelled.labels == UNLABELLED).all()
    assert found.unlabelled.index.tolist() == list(range(12, 12 + len(found.unlabelled)))
    line = account_of(found, tmp_path)["line"]
    assert f"{len(found.unlabelled)} unlabelled ({'more' if nested else 'flat'})" in line
    assert "passed over: 1 .me" in line


def test_unlabelled_images_that_are_test_images_too_are_told(tmp_path):
    fill(tmp_path / "set" / "train", ("ant", "bee"), 6)
    fill(tmp_path / "set" / "test", ("cat",), 3)
    (tmp_path / "set" / "test" / "cat").rename(tmp_path / "set" / "test" / "ant")
    spec = DataSpec(name=f"folder:{tmp_path / 'set'}", unlabelled=f"folder:{tmp_path / 'set' / 'test'}")
    assert (
        "3 of 3 test images are unlabelled images too;" in account_of(load_data(spec, tmp_path), tmp_path)["line"] + ";"
    )


def test_a_folder_for_each_class_is_refused_as_its_labels_would_be_lost(tmp_path):
    fill(tmp_path / "set" / "train", ("ant", "bee"), 6)
    fill(tmp_path / "set" / "test", ("ant", "bee"), 3)
    fill(tmp_path / "more", ("bee", "ant", "cow"), 2)
    spec = DataSpec(name=f"folder:{tmp_path / 'set'}", unlabelled=f"folder:{tmp_path / 'more'}")
    with pytest.raises(
        DataError, match=r"^data\.unlabelled: more has a folder for each class \(ant, bee\), so its images "
    ):
        load_data(spec, tmp_path)


@pytest.mark.parametrize("name", ["x_unlabelled", "images"])
def test_an_archive_of_images_without_labels(tmp_path, name):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "more.npz", **{name: images})  # type: ignore[arg-type]  # its stub takes a flag among them
    found = load_data(DataSpec(unlabelled=f"arrays:{tmp_path / 'more.npz'}"), tmp_path).unlabelled
    assert found is not None
    assert np.array_equal(found.inputs[:, 0].numpy(), images)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("cifar10", "data.unlabelled = 'cifar10' is no place of images; write folder:PATH or arrays:PATH.npz"),
        ("folder:", "data.unlabelled = 'folder:' names no path; write folder:PATH"),
        (
            "folder:/nowhere/at/all",
            "data.unlabelled: /nowhere/at/all is no folder; give the path of a folder of images",
        ),
        ("arrays:/nowhere.npz", "no file /nowhere.npz; give the path of an .npz file"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, reference, sentence):
    with pytest.raises(DataError) as error:
        load_data(DataSpec(unlabelled=reference), tmp_path)
    assert str(error.value).startswith(sentence)


def test_empty_folders_other_sizes_and_other_arrays_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("")
    with pytest.raises(DataError, match=r"empty has no image \(passed over: 1 .txt\); give the path of a folder"):
        load_data(DataSpec(unlabelled=f"folder:{tmp_path / 'empty'}"), tmp_path)
    np.savez(tmp_path / "large.npz", x=np.zeros((2, 9, 9), dtype=np.uint8))
    with pytest.raises(DataError, match=r"^digits has images of 1x8x8, and data.unlabelled of 1x9x9; set data.resol"):
        load_data(DataSpec(unlabelled=f"arrays:{tmp_path / 'large.npz'}"), tmp_path)
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 8, 8), dtype=np.uint8), b=np.zeros(2))
    with pytest.raises(DataError, match=r"two.npz has no 'x_unlabelled', only a, b; call the images so$"):
        load_data(DataSpec(unlabelled=f"arrays:{tmp_path / 'two.npz'}"), tmp_path)
    np.savez(tmp_path / "real.npz", x=np.zeros((2, 8, 8)))
    with pytest.raises(DataError, match=r"^x in .*real.npz is float64 \(2, 8, 8\); it should be uint8"):
        load_data(DataSpec(unlabelled=f"arrays:{tmp_path / 'real.npz'}"), tmp_path)


def test_changes_of_unlabelled_images_are_told_in_words(tmp_path):
    def account_now(images):
        np.savez(tmp_path / "more.npz", x=images)
        return account_of(load_data(DataSpec(unlabelled=f"arrays:{tmp_path / 'more.npz'}"), tmp_path), tmp_path)

    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    old, fewer, others = account_now(images), account_now(images[:4]), account_now(255 - images)
    assert changes(old, fewer) == "there were 5 unlabelled images and are 4"
    assert changes(old, others) == "some of the 5 unlabelled images are others"
    assert changes(account_of(digits(), tmp_path), old) == "there were 0 unlabelled images and are 5"
    assert old["digest"] not in {fewer["digest"], others["digest"]}


def test_the_test_fraction_counts_where_a_set_has_no_test_images():
    half = digits(test=0.5)
    assert len(half.test) == round(0.5 * 1797)
    assert len(half.train) + len(half.validation) + len(half.test) == 1797
