"""One's own folder of images through the whole command: what is said of it, what is refused, what a move does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import automl_kd.experiment
from automl_kd.errors import ConfigError
from automl_kd.results import ResultTable
from tests.cli.conftest import Ran
from tests.data.pictures import fill, noise

TINY = (
    *("--set", "teacher.model=resnet8", "--set", "teacher.recipe.epochs=1", "--set", "recipe.epochs=1"),
    *("--set", "search.trials=1", "--set", "search.sampler=random", "--set", "search.options={}"),
    *("--set", "search.proxy_filter=[]", "--set", "search.scheduler=none", "--set", "budget.params=0"),
    *("--set", "budget.macs=0", "--set", "finalists.seeds=[0]", "--set", "finalists.count=1"),
    *("--set", "trial.device=cpu", "--progress", "lines"),
)


ALL_LABELS = ("--set", "data.labelled_images=0", "--set", "teacher.all_labels=false", "--set", "data.test=0.5")
"""The quickstart has few labels."""


def search(run: Callable[..., Ran], data: str, *more: str) -> Ran:
    return run("search", "--set", f"data.name='{data}'", *ALL_LABELS, *TINY, *more)


@pytest.fixture
def opened(run, monkeypatch) -> Callable[..., str]:
    """Searches as far as Ray, which does not start; the line about the images."""

    def session(address="", resources=None):
        raise ConfigError("as far as Ray")

    monkeypatch.setattr(automl_kd.experiment, "session", session)

    def line(data: str) -> str:
        code, _, err = search(run, data)
        assert (code, err.splitlines()[-1]) == (2, "automl-kd: as far as Ray")
        (told,) = [one for one in err.splitlines() if one.startswith("data ")]
        return told

    return line


def test_the_run_begins_with_what_was_found(opened, tmp_path):
    fill(tmp_path / "photos" / "around" / "Training", ("ant", "bee", "cow"))
    fill(tmp_path / "photos" / "around" / "Testing")
    shutil.copytree(tmp_path / "photos/around/Training/ant", tmp_path / "photos/around/Training/bee/.ipynb_checkpoints")
    (tmp_path / "photos" / "around" / "Training" / "bee" / "noname").touch()
    told = opened("folder:photos")
    assert "/photos: 3 classes, 24 training (around/Training/), 6 validation (cut from training), 20 test (aro" in told
    assert "; smallest class 'ant' with 8 training images; no test image of class 'cow'; passed over: " in told
    assert told.endswith(" 10 in hidden folders and 1 without suffix")
    assert not (tmp_path / "results").exists()


def test_named_sets_are_told_of_too(opened):
    assert opened("digits").startswith("data digits: 10 classes, 719 training, 180 validation (cut from training), 898")


def classes_like_splits(top: Path) -> None:
    fill(top, ("seg_train", "seg_test"))


def dark(top: Path) -> None:
    fill(top)
    for file in top.rglob("*.png"):
        noise(0, 4096, channels=1, kind=np.uint16).save(file)


def transparent(top: Path) -> None:
    fill(top)
    for file in top.rglob("*.png"):
        image = noise()
        image.putalpha(0)
        image.save(file)


def pipes(top: Path) -> None:
    for name in ("ant", "bee"):
        (top / name).mkdir(parents=True)
        os.mkfifo(top / name / "0.png")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (classes_like_splits, "look like splits and not like classes"),
        (dark, "set data.max_value to the largest value that there can be, such as 4095 for 12 bits"),
        (transparent, "all pixels of the training images"),
        (pipes, "(passed over: 2 devices, pipes and the like)"),
    ],
)
def test_what_would_train_to_nothing_is_refused(refused, tmp_path, make, sentence):
    make(tmp_path / "photos")
    assert sentence in refused("search", "--set", "data.name='folder:photos'", *ALL_LABELS)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (("data.name='folder:~nobody-of-this-name/x'",), "no home folder is known for this user; check the path"),
        (("data.name='arrays:/dev/zero'",), "/dev/zero cannot be read: it is a device, not a file"),
        (("data.name='arrays:pipe'",), "pipe cannot be read: it is a pipe, not a file"),
        (("data.resolution=4096",), "1,797 images of digits at data.resolution = 4096 take 28.1 GiB, and twice that"),
        (("data.max_value=-1",), "max_value must be 0 (as files state) or more"),
        (("data.max_value=4095",), "data.max_value = 4095 is for files of images of more than 8 bits"),
    ],
)
def test_data_that_cannot_be_had(refused, tmp_path, monkeypatch, settings, sentence):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("automl_kd.memory.machine_bytes", lambda: 2**35)
    assert sentence in refused("search", *(word for one in settings for word in ("--set", one)))


@pytest.mark.ray
@pytest.mark.slow
def test_moved_images_go_on_and_changed_ones_are_told(run, tmp_path):
    """Sixteen bits deep, in splits with capitals, searched; moved, and continued; changed, and refused."""
    for split in ("Train", "Test"):
        fill(tmp_path / "here" / split)
        for number, file in enumerate(sorted((tmp_path / "here" / split).rglob("*.png"))):
            noise(1000 if number < 10 else 40000, 50000, channels=1, kind=np.uint16).save(file)
    code, _, err = search(run, "folder:here")
    assert code == 0, err
    told = "/here: 2 classes, 16 training (Train/), 4 validation (cut from training), 20 test (Test/) images of 3x6x6"
    page = tmp_path / "results" / "quickstart" / "leaderboard.html"
    assert told in err
    assert told in page.read_text()
    (tmp_path / "here").rename(tmp_path / "there")
    before = ResultTable(page.parent).read()
    code, _, err = search(run, "folder:there", "--set", "search.trials=2")
    assert code == 0, err
    after = ResultTable(page.parent).read()
    assert set(after["dataset"]) == {f"folder:{tmp_path}/here"}
    assert after["config_hash"].nunique() == before["config_hash"].nunique()
    assert len(after) > len(before)
    assert set(before["key"]) < set(after["key"])
    noise(0, 60000, channels=1, kind=np.uint16).save(tmp_path / "there" / "Test" / "bee" / "new.png")
    code, _, err = search(run, "folder:there", "--set", "search.trials=2")
    assert code == 2
    assert err.splitlines()[-1] == (
        f"automl-kd: the images of the experiment in {page.parent} have changed: class 'bee' had 10 test images and has"
        " 11; bring them back, or give this experiment another name or --out"
    )
