"""Relative files, and data, lie beside the experiment's file, wherever the command is typed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from automl_kd import config
from automl_kd.config import beside
from automl_kd.data import FORMATS
from automl_kd.errors import ConfigError
from automl_kd.methods import METHODS

TOML = 'name = "x"\nspace = "search_spaces.resnet:SPACE"\nteacher.checkpoint = "weights/teacher.pt"\n'


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """That of the experiment's file, and the current one."""
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        (folder / "weights").mkdir(parents=True)
    (there / "x.toml").write_text(TOML)
    monkeypatch.chdir(here)
    return there, here


def checkpoint(folder: Path, *overrides: str) -> str:
    return config.load_experiment(folder / "x.toml", overrides).teacher.checkpoint


def test_it_follows_the_file(folders):
    (folders[0] / "weights" / "teacher.pt").touch()
    assert checkpoint(folders[0]) == str(folders[0] / "weights" / "teacher.pt")
    assert checkpoint(Path("../there")) == str(folders[0] / "weights" / "teacher.pt")


def test_one_that_is_only_here_is_taken(folders):
    (folders[1] / "weights" / "teacher.pt").touch()
    assert checkpoint(folders[0]) == str(folders[1] / "weights" / "teacher.pt")


def test_two_are_refused_unless_they_are_one(folders):
    for folder in folders:
        (folder / "weights" / "teacher.pt").touch()
    named = [folder / "weights" / "teacher.pt" for folder in folders]
    with pytest.raises(ConfigError, match=f"may be {named[0]} or {named[1]}; give the absolute path of one"):
        checkpoint(folders[0])
    named[1].unlink()
    named[1].symlink_to(named[0])
    assert checkpoint(folders[0]) == str(named[0])


def test_where_it_was_looked_for_is_said(folders):
    looked = " nor ".join(str(folder / "weights" / "teacher.pt") for folder in folders)
    with pytest.raises(
        ConfigError, match=f"checkpoint = 'weights/teacher.pt' names no file: there is no {looked}; give"
    ):
        checkpoint(folders[0])


@pytest.mark.parametrize("init", ["techer", "Teacher", "Fresh"])
def test_a_misspelt_start_is_recognised(folders, init):
    (folders[0] / "weights" / "teacher.pt").touch()
    meant = init.lower().replace("techer", "teacher")
    with pytest.raises(ConfigError, match=f"student.init = '{init}' names no file: .*; did you mean '{meant}'"):
        config.load_experiment(folders[0] / "x.toml", [f"student.init='{init}'"])


@pytest.mark.parametrize("name", ["", "/weights/teacher.pt", "s3://bucket/teacher.pt", "~/teacher.pt"])
def test_what_is_not_relative_stays_as_it_is(folders, name):
    assert checkpoint(folders[0], f"teacher.checkpoint='{name}'") == name


DATA = """
name = "x"
space = "search_spaces.resnet:SPACE"
method = "lkd"
options.loss = "a.json"
data = { name = "folder:photos", unlabelled = "folder:more", tokenizer = "words" }
"""


def read_beside(folder: Path, *overrides: str) -> config.Experiment:
    (folder / "x.toml").write_text(DATA)
    return config.load_experiment(folder / "x.toml", overrides)


def test_data_and_options_that_are_only_beside_the_file_are_found_there(folders):
    there, here = folders
    assert read_beside(there).data.name == "folder:photos"
    for name in ("photos", "more", "words", "a.json", "s-00.tar"):
        (there / name).touch()
    found = read_beside(there)
    assert found.data.name == f"folder:{there / 'photos'}"
    assert found.data.unlabelled == f"folder:{there / 'more'}"
    assert (found.data.tokenizer, found.options["loss"]) == (str(there / "words"), str(there / "a.json"))
    pattern = "s-{00..07}.tar"
    assert read_beside(there, f"data.name=shards:{pattern}").data.name == f"shards:{there / pattern}"
    (here / "photos").mkdir()
    assert read_beside(there).data.name == "folder:photos"  # of here, as ever


def test_names_and_options_that_are_no_files_stay(folders):
    for name in ("digits", "module", "kd", "a.json", "b.json"):
        (folders[0] / name).touch()
    assert read_beside(folders[0], "data.name=digits").data.name == "digits"
    assert read_beside(folders[0], "data.name=tests.tiny:module").data.name == "tests.tiny:module"
    changes = ['method="weighted_losses"', 'options={losses="kd"}', 'hyperparameters.process=["a.json","c.json"]']
    found = read_beside(folders[0], *changes)
    assert found.options == {"losses": "kd"}
    assert found.hyperparameters["process"] == (str(folders[0] / "a.json"), "c.json")


def test_the_tables_are_those_of_the_readers():
    kinds: list[Any] = list(METHODS.values())
    known = {item.name for one in kinds for item in dataclasses.fields(one) if item.metadata.get("file")}
    assert known == beside.FILE_OPTIONS
    assert set(FORMATS) == beside.DATA_FORMS
