"""Every mistake in an experiment ends in one sentence and exit code 2, before Ray starts and with nothing on disk."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import automl_kd.experiment
from automl_kd import config
from automl_kd.experiment.context import ExperimentContext
from automl_kd.models import build_model
from automl_kd.space import InputShape

DIGITS = InputShape(channels=1, height=8, width=8, classes=10)


@pytest.fixture(autouse=True)
def no_ray(monkeypatch):
    """Whatever gets as far as Ray was not refused."""

    def session(address="", resources=None):
        raise AssertionError("Ray would have been started")

    monkeypatch.setattr(automl_kd.experiment, "session", session)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("space='search_spaces.resnett:SPACE'", "did you mean 'search_spaces.resnet:SPACE'?"),
        ("space=resnet", "no space is called 'resnet'; known are search_spaces.bert:SPACE"),
        ("space='./mine.py:SPACE'", "no space is called './mine.py:SPACE'"),
        ("space='nowhere.at_all:SPACE'", "no module 'nowhere' could be imported"),
        ("space='search_spaces.resnet:SPAC'", "has no 'SPAC'; did you mean 'SPACE'?"),
        ("space='math:pi'", "'math:pi' is of type float; name a SearchSpace"),
        ("method=kdd", "no method is called 'kdd'; did you mean 'kd'?"),
        ("search.sampler=evolutoin", "no sampler is called 'evolutoin'; did you mean 'evolution'?"),
        ("search.proxy_filter=['synflo']", "no proxy is called 'synflo'; did you mean 'synflow'?"),
        ("teacher.model=resnet33", "no model is called 'resnet33'; did you mean"),
        ("teacher.model='torchvision:resnet19'", "torchvision has no classifier called 'resnet19'"),
        ("data.name=digit", "no dataset is called 'digit'; did you mean 'digits'?"),
        ("search.scheduler=ashe", 'search.scheduler = "ashe" does not fit; it should be'),
        ("search.trails=5", "unknown key 'search.trails'; did you mean 'trials'?"),
        ("serach.trials=5", "unknown key 'serach'; did you mean 'search'?"),
        ("options.temprature=4", "unknown key 'temprature'; did you mean 'temperature'?"),
        ("options.temperature=hot", "temperature"),
        ("options.temperature=-1", "temperature"),
        ("search.options.populaton=4", "has no option 'populaton'; did you mean 'population'?"),
        ("search.options.population=many", "option 'population' of sampler 'evolution' is 'many'; write it as int"),
        ("search.options.population=0", "population"),
        ("search.objectives=['val_accuracy','-params']", "sampler 'evolution' follows one objective"),
        ("search.objectives=['test_accuracy']", "objectives must begin with"),
        ("search.trials=many", 'search.trials = "many" does not fit; it should be a valid integer'),
        ("search.trials=2.5", "search.trials = 2.5 does not fit"),
        ("search.trials=0", "search: trials must be 1 or more, got 0"),
        ("search=5", "search = 5 does not fit"),
        ("search.trials.more=5", "'trials' is a value, not a section that holds 'more'"),
        ("search.trials", "--set needs key=value, got 'search.trials'"),
        ("recipe.epochs=-3", "epochs"),
        ("recipe.lr=nan", "lr"),
        ("name='../elsewhere'", "as it names a folder; got '../elsewhere'"),
        ("finalists.seeds=[1,1]", "seeds must be distinct"),
        ("finalists.readings=['steps']", "'compute', 'shared-teacher' or 'epochs'"),
        ("finalists.readings=[]", "readings must name one or more of 'compute', 'shared-teacher', 'epochs'"),
        ("finalists.baselines=['default-kd','default-kd']", "baselines has 'default-kd' twice; keep one"),
        ("recipe.name=rsb", "recipe.name: no recipe is called 'rsb'; did you mean 'rsb-a3'?"),
        ("recipe.policy=random", 'recipe.policy = "random" does not fit'),
        ("recipe.mixup=-0.1", "mixup must be 0 (off) or more, got -0.1"),
        ("recipe.repeats=5", "batch_size must be a multiple of repeats = 5"),
        ("recipe={repeats=64,mixup=0.1}", "it must hold 128 views for repeats = 64, got batch_size = 64"),
        ("data.transform=nowhere:flip", "no module 'nowhere' could be imported for 'nowhere:flip'"),
        ("recipe.last_epoch=0.0", "last_epoch must lie above 0 and at most at 1"),
        ("finalists.baseline={depth1=99}", "space 'resnet' needs a value for"),
        ("budget.params=40_000", "the baseline student basic 3-3-3 x 8-16-32 has 68,642 parameters"),
        ("data.validation=0.9999", "digits"),
        ("data.name=cifar10", "no CIFAR10 was found, looked for"),
        ("data.name='folder:nowhere'", "/nowhere; give the path of a folder with one subfolder of images"),
        ("data.name='folder:'", "names no path; write folder:PATH"),
        ("data.name='arrays:nowhere.npz'", "/nowhere.npz; give the path of an .npz file"),
        ("teacher.checkpoint=nowhere.pt", "/automl_kd/nowhere.pt nor "),
        (
            "teacher.model='file:/nowhere.onnx'",
            "no file could be read from /nowhere.onnx: No such file or directory; check",
        ),
        (
            "teacher.model='file:/nowhere.pt'",
            "names neither a .pt2 file of torch.export nor an .onnx file; give a file of",
        ),
        (
            "teacher.checkpoint=/nowhere.pt2",
            'write teacher.model = "file:/nowhere.pt2" in its place, or save its weights',
        ),
        ("teacher.macs=5", "teacher.macs = 5 is for a model 'file:PATH', and those of"),
        ("teacher.checkpoint=/nowhere.pt", "/nowhere.pt cannot be read (No such file or directory); check the path"),
        ("teacher.checkpoint='~no-such-user/x.pt'", "no home folder is known for this user"),
        (
            "teacher.weights=ema",
            "teacher.weights = 'ema' selects weights in a file; name the file as teacher.checkpoint",
        ),
    ],
)
def test_a_mistake_in_a_field(refused, setting, sentence):
    own = ("--set", "teacher.all_labels=false") if setting.startswith("teacher.checkpoint=") else ()
    assert sentence in refused("search", *own, "--set", setting)


TINY_SPACE = (
    *("space=tests.tiny:SPACE", "data.name=tests.tiny:source", "finalists.baseline={}"),
    "data.labelled_images=0",  # the quickstart has few
)


def test_a_budget_that_nobody_meets(refused):
    # Two channels need 2 * 9 weights, 2 * 2 of the norm and 3 * 2 + 3 of the classifier: 31.
    plain = (*TINY_SPACE, "budget.params=30")
    said = refused("search", *(word for setting in plain for word in ("--set", setting)))
    assert said == (
        "none of 500 architectures of 'tiny' meets the budget: params <= 30, where the least is 31 parameters; raise "
        "[budget] or widen the space"
    )


def test_a_proxy_that_cannot_score(refused):
    asked = (*TINY_SPACE, "budget.params=0", "search.proxy_filter=['diswot']")
    said = refused("search", *(word for setting in asked for word in ("--set", setting)))
    assert said.startswith("proxy 'diswot' fails on all 40 candidates: diswot_semantic needs equal (classes, channels)")


def test_a_budget_says_which_of_its_limits_it_is(refused, monkeypatch):
    plain = (*TINY_SPACE, "budget.latency_ms=1.0")
    words = [word for setting in plain for word in ("--set", setting)]
    monkeypatch.setattr(ExperimentContext, "latency_ms", lambda lab, one: lab.latencies.setdefault(one, 2.5))
    said = refused("search", *words)
    assert "meets the budget: latency_ms <= 1.0, where the least is a latency of 2.5 ms; raise [budget]" in said
    assert "params" not in said
    said = refused("search", *words, "--set", "budget.latency_ms=3.0", "--set", "budget.macs=1")
    assert "meets the budget: macs <= 1, where the least is " in said
    assert "latency" not in said


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"name = 'x'\nspace = 'search_spaces.resnet:SPACE'\n[serach]\n", "unknown key 'serach'"),
        (b"name = 'x'\n", "space is missing; add it"),
        (b"name = \n", "is not valid TOML: Invalid value (at line 1, column 8)"),
        (b"\xff\xfe", "is not text in UTF-8"),
    ],
)
def test_a_file_that_is_no_experiment(refused, tmp_path, content, sentence):
    (tmp_path / "x.toml").write_bytes(content)
    assert sentence in refused("search", "x.toml")


@pytest.mark.parametrize(
    ("path", "reason"), [("nowhere.toml", "No such file or directory"), (".", "it is a folder, not a file")]
)
def test_no_file_at_all(refused, path, reason):
    assert refused("search", path) == f"no experiment could be read from {path}: {reason}; give the path of a TOML file"


def test_damaged_images(refused, tmp_path):
    (tmp_path / "set.npz").write_bytes(b"PK\x03\x04 and nothing more")
    assert "could not be read as an .npz file" in refused("search", "--set", "data.name='arrays:set.npz'")
    np.savez(tmp_path / "set.npz", x_train=np.zeros((4, 8, 8), np.uint8))
    assert "set.npz has no 'y_train', only x_train" in refused("search", "--set", "data.name='arrays:set.npz'")
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
    assert "no class subfolder with images in it" in refused("search", "--set", "data.name='folder:pets'")
    for number in range(20):
        (tmp_path / "pets" / ("cats", "dogs")[number % 2] / f"{number}.png").write_bytes(b"not a picture")
    assert "could not be decoded as an image" in refused("search", "--set", "data.name='folder:pets'")
    (tmp_path / "data" / "cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / "data" / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half")
    assert "the CIFAR10 files in" in refused("search", "--set", "data.name=cifar10")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: build_model("resnet8", DIGITS).state_dict(), "is of another network:"),
        (lambda: build_model("resnet20", InputShape(1, 8, 8, 7)).state_dict(), "has 7 classes, the data has 10"),
        (lambda: build_model("resnet20", InputShape(3, 8, 8, 10)).state_dict(), "1 tensors of another shape"),
        (lambda: {"accuracy": 0.9}, "holds no state_dict"),
    ],
)
def test_a_checkpoint_that_does_not_fit(refused, tmp_path, make, sentence):
    torch.save(make(), tmp_path / "teacher.pt")
    own = ("teacher.model=resnet20", "teacher.checkpoint=teacher.pt", "teacher.all_labels=false")
    settings = [word for one in own for word in ("--set", one)]
    assert sentence in refused("search", *settings)
    (tmp_path / "teacher.pt").write_bytes((tmp_path / "teacher.pt").read_bytes()[:100])
    assert "teacher.pt cannot be read" in (said := refused("search", *settings)) or "is damaged" in said


def test_distill_names_what_it_does_not_know(refused):
    assert "no model is called 'nosuch'; known are mobilenet-v1" in refused("distill", "--student", "nosuch")
    assert "no method is called 'kdd'" in refused("distill", "--student", "resnet8", "--method", "kdd")
    assert "seeds must be distinct and at least one" in refused("distill", "--student", "resnet8", "--seeds", "0")
    assert "epochs" in refused("distill", "--student", "resnet8", "--epochs", "0")
    assert "unknown key 'serach'" in refused("distill", "--student", "resnet8", "--set", "serach.trials=1")


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A results folder as the quickstart leaves it when it is stopped at once."""
    record = config.to_record(config.load_experiment(Path(automl_kd.__file__).parent / "quickstart.toml"))
    folder = tmp_path / "results" / "quickstart"
    folder.mkdir(parents=True)
    (folder / "experiment.json").write_text(json.dumps(record))
    return folder


def test_a_folder_of_another_experiment(refused, begun):
    said = refused("search", "--set", "seed=7")
    assert said.startswith(f"{begun} holds another experiment: its seed is 0, here it is 7; give this one another name")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '"text"'])
def test_a_folder_whose_description_is_damaged(refused, begun, content):
    (begun / "experiment.json").write_text(content)
    assert str(begun) in refused("search")


def test_a_folder_of_something_else(refused, begun):
    (begun / "experiment.json").rename(begun / "thesis.txt")
    assert "is not empty and holds no experiment; give another --out" in refused("search")


def test_two_runs_in_one_folder(refused, begun):
    with (begun / "lock").open("w") as file:
        file.write("4711")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert refused("search").startswith(f"process 4711 is writing to {begun}; wait for it")


def test_results_cannot_go_into_a_file(refused, tmp_path):
    (tmp_path / "taken").write_text("mine")
    assert f"{tmp_path}/taken is not a folder" in refused("search", "--out", "taken")
    assert f"{tmp_path}/taken is not a folder" in refused("search", "--out", "taken/below")


def test_a_folder_that_may_not_be_written_to(refused, tmp_path, monkeypatch):
    # Root may write everywhere, so the system's answer is pretended.
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    assert f"{tmp_path} may not be written to" in refused("search")


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_without_room(refused, small_disk):
    said = refused("search", "--out", str(small_disk))
    assert said == f"{small_disk} has 1 MiB free, and a run needs 32 or more; make room or give another --out"


def test_a_disk_that_fills_up_while_scores_are_written(refused, small_disk):
    fill = ["dd", "if=/dev/zero", f"of={small_disk / 'filler'}", "bs=4096"]
    assert subprocess.run(fill, capture_output=True, check=False).returncode == 1
    scoring = ("score", "search_spaces.resnet_depth:SPACE", "--proxies", "params", "--sample", "2")
    said = refused(*scoring, "--out", str(small_disk / "scores"))
    assert "No space left on device; make room or choose another --out" in said
