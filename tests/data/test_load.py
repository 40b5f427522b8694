"""Names to sets: the table, paths, references to one's own function, and the digits themselves."""

import pytest
import torch

from automl_kd.data import DATASETS, Source, in_memory, load_data, plain_view, resolve_path
from automl_kd.errors import DataError, UnknownNameError
from automl_kd.spec import DataSpec


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load_data(DataSpec(), tmp_path_factory.mktemp("unused"))


def test_digits_have_their_shape_and_size(digits):
    assert (digits.shape.channels, digits.shape.height, digits.shape.width, digits.shape.classes) == (1, 8, 8, 10)
    # 1797 images: 359 for testing, 144 of the other 1438 for validation
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (1294, 144, 359)
    assert digits.class_names == tuple("0123456789")
    assert (digits.augment, digits.pad) == ("crop", 1)
    assert digits.train.inputs.max() == 255
    assert set(digits.train.inputs.unique().tolist()) <= {round(level * 255 / 16) for level in range(17)}


def test_nearest_centroid_knows_the_digits(digits):
    """Would be 0.1 if labels did not belong to their images; 0.90 was measured on both splits."""
    train = plain_view(digits, digits.train, torch.arange(len(digits.train))).flatten(1)
    centroids = torch.stack([train[digits.train.labels == label].mean(dim=0) for label in range(10)])
    for split in (digits.validation, digits.test):
        images = plain_view(digits, split, torch.arange(len(split))).flatten(1)
        predicted = torch.cdist(images, centroids).argmin(dim=1)
        assert (predicted == split.labels).double().mean() > 0.8


def test_the_view_of_digits_is_standardised(digits):
    view = plain_view(digits, digits.train, torch.arange(len(digits.train)))
    assert view.mean().abs() < 1e-4
    assert (view.std() - 1).abs() < 1e-3


def test_digits_can_be_resized(tmp_path):
    found = load_data(DataSpec(resolution=16), tmp_path)
    assert (found.shape.height, found.shape.width, found.pad) == (16, 16, 2)


def test_equal_specs_give_equal_sets(digits, tmp_path):
    again = load_data(DataSpec(), tmp_path)
    assert torch.equal(again.train.inputs, digits.train.inputs)
    assert torch.equal(again.validation.index, digits.validation.index)
    assert (again.mean, again.std) == (digits.mean, digits.std)


def test_moving_keeps_everything(digits):
    moved = digits.to("cpu")
    assert torch.equal(moved.test.inputs, digits.test.inputs)
    assert (moved.name, moved.shape, moved.mean) == (digits.name, digits.shape, digits.mean)
    assert digits.to("meta").train.inputs.device.type == "meta"


def halves(_root):
    """One's own set: what a reference names is called as the entries of the table are."""
    labels = torch.tensor([0, 1] * 20)
    images = (labels * 255).to(torch.uint8)[:, None, None, None].expand(40, 1, 4, 4)
    return Source(train=in_memory(images, labels), class_names=("dark", "bright"), augment="none")


def test_a_reference_names_ones_own_set(tmp_path):
    found = load_data(DataSpec(name="tests.data.test_load:halves"), tmp_path)
    assert found.class_names == ("dark", "bright")
    assert (found.train.inputs[:, 0, 0, 0] > 0).long().tolist() == found.train.labels.tolist()


def test_wrong_names_are_one_sentence(tmp_path):
    assert set(DATASETS) == {"digits", "cifar10", "cifar100"}
    with pytest.raises(UnknownNameError, match=r"no dataset is called 'cifar11'; did you mean 'cifar10'\?"):
        load_data(DataSpec(name="cifar11"), tmp_path)
    for form in ("folder", "arrays"):
        with pytest.raises(DataError, match=f"'{form}:' names no path; write {form}:PATH"):
            load_data(DataSpec(name=f"{form}:"), tmp_path)


def test_resolve_makes_paths_absolute_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    spec = DataSpec(name="arrays:sets/a.npz", train_images=5)
    resolved = resolve_path(spec)
    assert resolved == DataSpec(name=f"arrays:{tmp_path}/sets/a.npz", train_images=5)
    monkeypatch.chdir("/")
    assert resolve_path(resolved) == resolved
    assert resolve_path(DataSpec(name="folder:~/sets")).name == f"folder:{tmp_path}/home/sets"
    assert resolve_path(DataSpec()) == DataSpec()
    assert resolve_path(DataSpec(name="my_lab.sets:mine")).name == "my_lab.sets:mine"
