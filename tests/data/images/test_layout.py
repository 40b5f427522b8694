"""Folders as people lay them out: splits in every spelling, classes that are none, what lies between them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from automl_kd.data import account_of, load_data
from automl_kd.data.images.layout import find_layout
from automl_kd.data.images.listing import images_below
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec
from tests.data.pictures import fill, noise

CLASSES = ("ant", "bee")


def lay_out(top: Path, *names: str) -> Path:
    for name in names:
        fill(top / name)
    return top


@pytest.mark.parametrize(
    ("given", "splits"),
    [
        (("Train", "Test"), {"training": "Train", "test": "Test"}),
        (("Training", "Testing"), {"training": "Training", "test": "Testing"}),
        (("train", "valid", "test"), {"training": "train", "validation": "valid", "test": "test"}),
        (("TRAIN", "VAL"), {"training": "TRAIN", "validation": "VAL"}),
        (("training", "validation"), {"training": "training", "validation": "validation"}),
        (("data",), {"training": "data"}),
        (("data/Train", "data/Test"), {"training": "data/Train", "test": "data/Test"}),
        (("train/train", "test/test"), {"training": "train/train", "test": "test/test"}),
        (("",), {"training": "."}),
    ],
)
def test_splits_and_what_is_around_them(tmp_path, given, splits):
    found = find_layout(lay_out(tmp_path, *given)).tops
    assert {kind: str(top.relative_to(tmp_path)) for kind, top in found.items()} == splits


def test_a_spelling_that_is_no_class(tmp_path):
    """What became classes, and what was cut from training although it was there."""
    found = load_data(DataSpec(name=f"folder:{lay_out(tmp_path / 'set', 'Training', 'valid', 'TEST')}"), tmp_path)
    assert found.class_names == CLASSES
    assert (len(found.train), len(found.validation), len(found.test)) == (20, 20, 20)
    assert found.made == {"training": "Training/", "validation": "valid/", "test": "TEST/"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("train", "Train"), "has Train/ and train/, two folders of training images; make one of them"),
        (("train", "val", "valid"), "two folders of validation images"),
        (("Test",), "has Test/ but no train/"),
    ],
)
def test_splits_that_do_not_fit_together(tmp_path, given, sentence):
    with pytest.raises(DataError, match=sentence):
        find_layout(lay_out(tmp_path, *given))


@pytest.mark.parametrize(
    "classes",
    [("train", "test"), ("seg_train", "seg_test"), ("TrainingSet", "val-images", "new"), ("x_train", "test2")],
)
def test_classes_that_look_like_splits_are_refused(tmp_path, classes):
    fill(tmp_path, classes)
    with pytest.raises(DataError, match=r"look like splits and not like classes; call them train/, val/ and test/"):
        find_layout(tmp_path)


@pytest.mark.parametrize(
    "classes",
    [
        ("car", "train"),
        ("control", "test"),
        ("valid", "invalid"),
        ("contest", "trained"),
        ("train_station", "a", "b", "test_tube", "c"),
    ],
)
def test_classes_that_are_called_like_one_split_are_classes(tmp_path, classes):
    fill(tmp_path, classes, 4)
    assert find_layout(tmp_path).tops == {"training": tmp_path}


def test_a_split_without_class_folders_is_refused(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path, ("test",))
    with pytest.raises(DataError, match=r"test holds images and .*train does not; put the images of each class into"):
        find_layout(tmp_path)


def test_the_only_class_of_a_split_is_no_wrapping(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test" / "ant", ("north", "south"))
    found = load_data(DataSpec(name=f"folder:{tmp_path}"), tmp_path)
    assert set(found.test.labels.tolist()) == {0}
    assert len(found.test) == 20
    assert "no test image of class 'bee'" in account_of(found, tmp_path)["line"]


def test_what_is_passed_over_is_counted(tmp_path):
    top = lay_out(tmp_path / "set", "train", "test", "unlabelled")
    for aside in (".ipynb_checkpoints", "@eaDir", "Thumbnails"):
        shutil.copytree(top / "train" / "bee", top / "train" / "ant" / aside)
    shutil.copytree(top / "train" / "bee", top / "train" / "__MACOSX")
    (top / "annotations").mkdir()
    (top / "train" / "ant" / "labels.TXT").touch()
    (top / "train" / "ant" / "noname").touch()
    (top / "train" / "readme.md").touch()
    (top / "train" / "ant" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (top / "train" / "bee" / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(top / "train" / "bee" / "pipe.png")
    found = load_data(DataSpec(name=f"folder:{top}"), tmp_path)
    assert len(found.train) + len(found.validation) == 20
    assert found.passed_over == {
        "files in unlabelled/": 20,
        "in folders of thumbnails and of systems": 20,
        "in hidden folders": 10,
        "devices, pipes and the like": 2,
        ".txt": 1,
        "without suffix": 1,
        "links to nothing": 1,
        ".md beside the class folders": 1,
    }
    line = account_of(found, tmp_path)["line"]
    assert "passed over: 20 files in unlabelled/, 20 in folders of thumbnails and of systems, " in line
    assert "and 3 others" in line


def test_nothing_to_read_says_what_there_is(tmp_path):
    (tmp_path / "ant").mkdir()
    for number in range(3):
        (tmp_path / "ant" / f"{number}.heic").touch()
    with pytest.raises(DataError, match=r"no class subfolder with images in it \(passed over: 3 .heic\)"):
        load_data(DataSpec(name=f"folder:{tmp_path}"), tmp_path)


@pytest.mark.parametrize("suffix", ["jfif", "gif", "JPE"])
def test_suffixes_of_other_systems_are_read(tmp_path, suffix):
    fill(tmp_path)
    for number in range(5):
        noise().save(tmp_path / "ant" / f"x{number}.{suffix}")
    assert len(images_below(tmp_path / "ant").files) == 15


def test_links_are_followed_and_lead_nowhere_twice(tmp_path):
    top, away = tmp_path / "set", tmp_path / "away"
    fill(top)
    fill(away, ("more", "other"))
    (top / "ant" / "more").symlink_to(away / "more")
    (top / "ant" / "again").symlink_to(away / "more")
    (top / "ant" / "back").symlink_to(top)
    (top / "ant" / "self").symlink_to(top / "ant")
    (top / "ant" / "knot").symlink_to(top / "ant" / "knot")
    (away / "more" / "back").symlink_to(top / "ant")
    (top / "cow").symlink_to(away / "other")
    assert len(images_below(top / "ant").files) == 20
    assert load_data(DataSpec(name=f"folder:{top}"), tmp_path).class_names == ("ant", "bee", "cow")


def test_files_come_in_the_order_of_their_paths(tmp_path):
    fill(tmp_path, ("b", "b/a", "b.x"), 3)
    assert images_below(tmp_path).files == [str(file) for file in sorted(tmp_path.rglob("*.png"))]


def test_a_tree_that_changes_while_it_is_listed(tmp_path, monkeypatch):
    fill(tmp_path / "set")
    inner = os.scandir

    def scandir(folder):
        if Path(folder).name == "bee":
            monkeypatch.setattr(os, "scandir", inner)
            shutil.rmtree(folder)
        return inner(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"bee went away while .* was listed; run it again when nobody changes"):
        load_data(DataSpec(name=f"folder:{tmp_path / 'set'}"), tmp_path)


def test_a_folder_that_may_not_be_listed(tmp_path, monkeypatch):
    fill(tmp_path / "set")

    def scandir(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"set cannot be listed \(Permission denied\); correct that"):
        load_data(DataSpec(name=f"folder:{tmp_path / 'set'}"), tmp_path)


def test_names_need_not_be_text(tmp_path):
    fill(tmp_path / "set")
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / "set" / "ant").rename(tmp_path / "set" / name)
    (tmp_path / "set" / name / "0.png").unlink()
    found = load_data(DataSpec(name=f"folder:{tmp_path / 'set'}"), tmp_path)
    assert r"smallest class 'caf\udce9'" in account_of(found, tmp_path)["line"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("folder:~nobody-of-this-name/x", "no home folder is known for this user"),
        ("arrays:~nobody-of-this-name/x.npz", "no home folder is known for this user"),
        ("folder:a\0b", "cannot hold the character NUL"),
        ("arrays:a\0b", "cannot hold the character NUL"),
        ("folder:" + "x" * 300, "cannot be listed .File name too long"),
        ("arrays:/dev/zero", "it is a device, not a file"),
    ],
)
def test_paths_that_are_none(tmp_path, name, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        load_data(DataSpec(name=name), tmp_path)
    assert "\0" not in str(caught.value)
