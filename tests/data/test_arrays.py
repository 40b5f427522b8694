"""Archives of arrays: what is written is read, and whatever does not fit is one sentence."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from automl_kd.data import load_data
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec

RNG = np.random.default_rng(0)
GOOD: dict[str, Any] = {
    "x_train": RNG.integers(0, 256, (30, 4, 5, 3), dtype=np.uint8),
    "y_train": np.arange(30) % 3,
    "x_test": RNG.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8),
    "y_test": np.arange(6) % 3,
}


def spec_of(path: Path) -> DataSpec:
    return DataSpec(name=f"arrays:{path}")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_is_written_is_read(tmp_path, save):
    save(tmp_path / "a.npz", **GOOD)
    found = load_data(spec_of(tmp_path / "a.npz"), tmp_path)
    assert (found.shape.channels, found.shape.height, found.shape.width, found.shape.classes) == (3, 4, 5, 3)
    assert (found.augment, found.pad, found.class_names) == ("crop-flip", 1, ("0", "1", "2"))
    for split, name in ((found.train, "train"), (found.validation, "train"), (found.test, "test")):
        assert split.inputs.is_contiguous()
        index = split.index.numpy()
        assert np.array_equal(split.inputs.permute(0, 2, 3, 1).numpy(), GOOD[f"x_{name}"][index])
        assert np.array_equal(split.labels.numpy(), GOOD[f"y_{name}"][index])
    assert len(found.train) + len(found.validation) == 30


def test_grey_images_may_lack_their_channel(tmp_path):
    grey = {key: values[..., 0] if key.startswith("x") else values for key, values in GOOD.items()}
    np.savez(tmp_path / "a.npz", **{**grey, "y_train": GOOD["y_train"].astype(np.uint8)})
    found = load_data(spec_of(tmp_path / "a.npz"), tmp_path)
    assert (found.shape.channels, found.augment) == (1, "crop")
    assert np.array_equal(found.test.inputs[:, 0].numpy(), grey["x_test"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x_train": None}, "has no 'x_train', only y_train, x_test, y_test"),
        ({"x_train": GOOD["x_train"] / 255}, r"x_train in .* is float64 \(30, 4, 5, 3\); it should be uint8"),
        ({"x_test": GOOD["x_test"].transpose(0, 3, 1, 2)}, r"x_test in .* is uint8 \(6, 3, 4, 5\); it should be"),
        ({"y_train": GOOD["y_train"][:9]}, r"y_train in .* is int64 \(9,\); it should be integers \(30,\)"),
        ({"y_test": GOOD["y_test"] / 2}, r"y_test in .* is float64 \(6,\); it should be integers \(6,\)"),
        ({"y_test": GOOD["y_test"] + 1}, "test labels from 1 to 3; with 3 classes in training they must lie in 0 to 2"),
        ({"y_train": GOOD["y_train"] - 1}, "training labels from -1 to 1"),
        ({"y_train": GOOD["y_train"] * 2}, "no training image of class '1'"),
        (
            {"y_train": GOOD["y_train"] + 1, "y_test": GOOD["y_test"] + 1},
            "training labels from 1 to 3, and classes are numbered from 0; subtract 1 from each label",
        ),
        ({"y_test": None}, "has no 'y_test', only x_train, y_train, x_test; name its arrays"),
        ({"y_train": GOOD["y_train"] * 10**9}, "label 2000000000 but only 30 images; number the classes from 0"),
        ({"y_train": GOOD["y_train"] * 0, "y_test": GOOD["y_test"] * 0}, "has 1 class; at least 2 are needed"),
        ({"x_train": GOOD["x_train"][:0], "y_train": GOOD["y_train"][:0]}, "has no training images"),
        ({"x_test": GOOD["x_test"][:, :3]}, "test images of 3x3x5, wanted are 3x4x5"),
        ({"x_train": GOOD["x_train"].astype(object)}, "could not be read as an .npz file of plain arrays"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path, change, sentence):
    changed = {key: values for key, values in {**GOOD, **change}.items() if values is not None}
    np.savez(tmp_path / "a.npz", **changed)
    with pytest.raises(DataError, match=sentence) as caught:
        load_data(spec_of(tmp_path / "a.npz"), tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_and_damaged_files_are_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"no file .*nowhere.npz; give the path of an .npz file"):
        load_data(spec_of(tmp_path / "nowhere.npz"), tmp_path)
    np.savez_compressed(tmp_path / "whole.npz", **GOOD)
    whole = (tmp_path / "whole.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[500] ^= 255
    for name, content in (("empty", b""), ("text", b"not an archive"), ("cut", whole[:-200]), ("flipped", flipped)):
        (tmp_path / f"{name}.npz").write_bytes(content)
        with pytest.raises(DataError, match=f"{name}.npz could not be read as an .npz file"):
            load_data(spec_of(tmp_path / f"{name}.npz"), tmp_path)
    np.save(tmp_path / "one.npy", GOOD["x_train"])
    with pytest.raises(DataError, match=r"one.npy holds one array, not an archive"):
        load_data(spec_of(tmp_path / "one.npy"), tmp_path)


@pytest.mark.slow
def test_real_photographs(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run([sys.executable, shared_data / "unpack.py", folder, "cifar10"], check=True, capture_output=True)
    found = load_data(spec_of(folder / "cifar10.npz"), folder)
    assert len(found.train) + len(found.validation) == 40_000
    assert (len(found.train), len(found.validation), len(found.test)) == (36_000, 4_000, 10_000)
    assert (found.shape.channels, found.shape.height, found.shape.classes, found.pad) == (3, 32, 10, 4)
    # Close to the constants in wide use for all 50,000 training images.
    torch.testing.assert_close(torch.tensor(found.mean), torch.tensor([0.4914, 0.4822, 0.4465]), atol=0.005, rtol=0)
    torch.testing.assert_close(torch.tensor(found.std), torch.tensor([0.2470, 0.2435, 0.2616]), atol=0.005, rtol=0)
    share = torch.bincount(found.validation.labels) / torch.bincount(found.train.labels)
    torch.testing.assert_close(share, torch.full((10,), 1 / 9), atol=0.001, rtol=0)


@pytest.mark.parametrize(("task", "labels"), [("multi-label", (0, 2)), ("regression", (0.0, 1.0))])
def test_labels_of_other_tasks(tmp_path, task, labels):
    rng = np.random.default_rng(0)
    whole = {name: GOOD[name] for name in GOOD if name.startswith("x")}
    low, high = labels
    drawn: dict[str, Any] = {f"y{name[1:]}": rng.uniform(low, high, (len(images), 3)) for name, images in whole.items()}
    if task == "multi-label":
        drawn = {name: found.astype(np.int64) for name, found in drawn.items()}
    np.savez(tmp_path / "set.npz", **whole, **drawn)
    found = load_data(DataSpec(name=f"arrays:{tmp_path / 'set.npz'}", task=task), tmp_path)
    assert found.train.labels.dtype == torch.float32
    assert found.shape.classes == 3
    np.testing.assert_allclose(found.test.labels, drawn["y_test"], rtol=1e-6)
    with pytest.raises(DataError, match="it should be integers"):
        load_data(DataSpec(name=f"arrays:{tmp_path / 'set.npz'}"), tmp_path)


def test_a_label_of_several_is_0_or_1(tmp_path):
    labels = {"y_train": np.full((30, 2), 2), "y_test": np.zeros((6, 2), dtype=np.int64)}
    np.savez(tmp_path / "set.npz", **{**GOOD, **labels})
    with pytest.raises(DataError, match=r"y_train in .* has the label 2, and data.task = 'multi-label' wants 0 and 1"):
        load_data(DataSpec(name=f"arrays:{tmp_path / 'set.npz'}", task="multi-label"), tmp_path)


def test_a_missing_test_part_is_cut_from_training(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=GOOD["x_train"], y_train=GOOD["y_train"])
    found = load_data(spec_of(tmp_path / "a.npz"), tmp_path)
    assert (len(found.test), len(found.train) + len(found.validation)) == (6, 24)
    assert found.test.labels.bincount().tolist() == [2, 2, 2]
    assert found.made["test"] == "cut from training"
    with_val = {"x_val": GOOD["x_test"], "y_val": GOOD["y_test"]}
    np.savez(tmp_path / "b.npz", x_train=GOOD["x_train"], y_train=GOOD["y_train"], **with_val)
    for loading in ("resident", "stream"):  # as of folders
        same = load_data(DataSpec(name=f"arrays:{tmp_path / 'b.npz'}", loading=loading), tmp_path)
        assert (len(same.test), len(same.train) + len(same.validation)) == (6, 30)
        assert same.note == "the test images are those of x_val, as there is no test part"


@pytest.mark.parametrize("loading", ["resident", "stream"])
def test_labels_may_stand_in_a_column_and_be_false_or_true(tmp_path, loading):
    labels = {name: GOOD[name][:, None] % 2 == 1 for name in ("y_train", "y_test")}
    np.savez(tmp_path / "a.npz", **{**GOOD, **labels})
    found = load_data(DataSpec(name=f"arrays:{tmp_path / 'a.npz'}", loading=loading), tmp_path)
    assert found.class_names == ("0", "1")
    assert sorted(found.test.labels.tolist()) == sorted((GOOD["y_test"] % 2).tolist())


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_streamed_arrays_have_the_labels_of_resident_ones(tmp_path, task):
    rng = np.random.default_rng(1)
    labels = {f"y_{split}": rng.integers(0, 2, (count, 3)) for split, count in (("train", 30), ("test", 6))}
    np.savez(tmp_path / "a.npz", **{**GOOD, **labels})
    spec = DataSpec(name=f"arrays:{tmp_path / 'a.npz'}", task=task, loading="stream", on_error="skip")
    for _ in range(2):  # written, and from the kept pack
        found = load_data(spec, tmp_path)
        assert (found.task.name, found.shape.classes) == (task, 3)
        pixels = found.test.pixels_at(torch.arange(6)).permute(0, 2, 3, 1).numpy()
        for image, label in zip(pixels, found.test.labels.numpy(), strict=True):
            (row,) = np.flatnonzero((GOOD["x_test"] == image).all(axis=(1, 2, 3)))
            assert np.array_equal(label, labels["y_test"][row])
