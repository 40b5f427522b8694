"""The account of a set: what it holds in one line, images in two splits, and marks by which a change is found."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import torch

from automl_kd.data import account, account_of, load_data
from automl_kd.errors import DataError
from automl_kd.results.store.account import changes
from automl_kd.spec import DataSpec
from tests import tiny
from tests.data.pictures import fill


def test_the_line_by_hand(tmp_path):
    top = tmp_path / "set"
    fill(top / "train", ("ant", "bee", "cow"))
    fill(top / "test", ("ant", "bee"), 4)
    shutil.copy(top / "train" / "ant" / "0.png", top / "test" / "ant" / "x.png")
    shutil.copy(top / "train" / "ant" / "0.png", top / "test" / "bee" / "x.png")
    (top / "train" / "bee" / "9.png").unlink()
    found = load_data(DataSpec(name=f"folder:{top}", split_seed=4), tmp_path)
    whole = len(found.train) + len(found.validation)
    assert whole == 29
    told = account_of(found, tmp_path)
    home = "training" if 0 in found.train.index else "validation"
    assert told["line"] == (
        f"data folder:{top}: 3 classes, 26 training (train/), 3 validation (cut from training), 10 test (test/) images "
        "of 3x6x6; smallest class 'bee' with 8 training images; no test image of class 'cow'; 2 of 10 test images are "
        f"{home} images too, 1 of them of another class"
    )
    assert told["splits"]["test"]["images"] == [5, 5, 0]


def test_images_that_agree_in_the_middle_only_are_not_the_same(monkeypatch):
    monkeypatch.setattr(account, "LOOK", 4)
    data = tiny.dataset()
    images = data.test.inputs.clone()
    images[0] = data.train.inputs[5]
    images[0, 0, 0, 0] ^= 1
    images[1] = data.train.inputs[6]
    split = type(data.test)(images, data.test.labels, data.test.index)
    marks = [account.marks_of(one) for one in (data.train, split)]
    assert marks[0][5] == marks[1][0]
    assert account.shared(data.train, marks[0], split, marks[1]) == (1, int(data.train.labels[6] != split.labels[1]))


def test_what_changed_is_told_in_words(tmp_path):
    def account_now(**options):
        found = load_data(DataSpec(name=f"folder:{tmp_path / 'set'}", **options), tmp_path)
        return account_of(found, tmp_path)

    for split in ("train", "val", "test"):
        fill(tmp_path / "set" / split, ("ant", "bee"), 4)
    old = account_now()
    fill(tmp_path / "set" / "test", ("bee",), 5)
    assert changes(old, account_now()) == "class 'bee' had 4 test images and has 5"
    fill(tmp_path / "set" / "val", ("ant",), 4)
    assert changes(old, account_now()) == (
        "some of the 4 validation images of class 'ant' are others; class 'bee' had 4 test images and has 5"
    )
    fill(tmp_path / "set" / "train", ("cow",), 3)
    shutil.rmtree(tmp_path / "set" / "val" / "ant")
    shutil.rmtree(tmp_path / "set" / "test" / "ant")
    shutil.rmtree(tmp_path / "set" / "train" / "ant")
    assert changes(old, account_now()).startswith("class 'ant' is gone; class 'cow' is new; class 'bee' had 4")
    assert changes(old, account_now(resolution=4)).endswith("images were 3x6x6 and are 3x4x4 and 1 more changes")
    for damaged in ({}, {"classes": 1}, {**old, "splits": {}}):
        assert changes(damaged, old).startswith("images or labels are others, or this version")


def images(**changed: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    made: dict[str, Any] = {
        f"{axis}_{split}": rng.integers(0, 256, (20, 4, 4, 3), dtype=np.uint8) if axis == "x" else np.arange(20) % 2
        for split in ("train", "val", "test")
        for axis in "xy"
    }
    return {name: value for name, value in {**made, **changed}.items() if value is not None}


@pytest.mark.parametrize("spelling", ["val", "valid", "Validation"])
def test_validation_arrays_are_not_passed_over(tmp_path, spelling):
    given = images()
    renamed = {name.replace("_val", f"_{spelling}"): value for name, value in given.items()}
    np.savez(tmp_path / "a.npz", **renamed, names=np.array(["x"]))
    found = load_data(DataSpec(name=f"arrays:{tmp_path / 'a.npz'}"), tmp_path)
    assert (len(found.train), len(found.validation), len(found.test)) == (20, 20, 20)
    assert torch.equal(found.validation.inputs.permute(0, 2, 3, 1), torch.from_numpy(given["x_val"]))
    assert "passed over: 1 array 'names'" in account_of(found, tmp_path)["line"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"y_val": None}, "has no 'y_val', only x_train"),
        ({"X_Train": np.zeros(1)}, "has both 'x_train' and 'X_Train'; keep one"),
        ({"x_val": np.zeros((20, 4, 4, 3))}, "x_val in .* is float64"),
    ],
)
def test_validation_arrays_that_do_not_fit(tmp_path, changed, sentence):
    np.savez(tmp_path / "a.npz", **images(**changed))
    with pytest.raises(DataError, match=sentence):
        load_data(DataSpec(name=f"arrays:{tmp_path / 'a.npz'}"), tmp_path)


def test_what_has_no_room_in_memory_is_refused_before_it_is_made(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", **images())
    monkeypatch.setattr("automl_kd.memory.machine_bytes", lambda: 2 * (60 * 48 + 60 * 8) - 1)
    with pytest.raises(DataError, match=r"the arrays in .*a.npz take 0.0 GiB, and twice that is needed"):
        load_data(DataSpec(name=f"arrays:{tmp_path / 'a.npz'}"), tmp_path)
    monkeypatch.setattr("automl_kd.memory.machine_bytes", lambda: 2 * 1797 * 64**2 - 1)
    with pytest.raises(
        DataError, match=r"1,797 images of digits at data.resolution = 64 take .*; lower data.resolution"
    ):
        load_data(DataSpec(resolution=64), tmp_path)
    assert load_data(DataSpec(resolution=64, train_images=1000), tmp_path).train.inputs.shape == (1000, 1, 64, 64)
