"""Whose folder it is: continued, refused, or begun again after a kill."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import pytest

from automl_kd import storage
from automl_kd.config import Experiment, add_new_fields, to_record
from automl_kd.errors import ResultError
from automl_kd.results.store.folder import (
    check_folder,
    first_difference,
    in_use,
    lock,
    of_this_comparison,
    open_folder,
    read_experiment_record,
    write_finals,
)
from automl_kd.spec import DataSpec, TeacherSpec

EXPERIMENT = Experiment(name="one", space="search_spaces.resnet:SPACE")
RECORD = to_record(EXPERIMENT)


def test_the_same_experiment_more_trials_and_other_finalists_continue(tmp_path):
    open_folder(tmp_path / "one", RECORD)
    longer = replace(EXPERIMENT, search=replace(EXPERIMENT.search, trials=99))
    longer = replace(
        longer, finalists=replace(longer.finalists, seeds=(5,)), trial=replace(longer.trial, max_concurrent=7)
    )
    open_folder(tmp_path / "one", to_record(longer))
    assert read_experiment_record(tmp_path / "one")["search"]["trials"] == 99


def test_another_experiment_is_refused_with_the_first_key_that_differs(tmp_path):
    open_folder(tmp_path, RECORD)
    other = to_record(replace(EXPERIMENT, recipe=replace(EXPERIMENT.recipe, lr=0.5)))
    with pytest.raises(ResultError, match=r"holds another experiment: its recipe\.lr is 0\.05, here it is 0\.5;"):
        check_folder(tmp_path, other)
    assert read_experiment_record(tmp_path) == RECORD


def place(folder: str, content: str = "a") -> dict[str, Any]:
    """The record of an experiment whose files all lie in `folder`; `content`: of the tokenizer and of the object."""
    pinned = f"@sha256-{content * 64}"
    teacher = TeacherSpec(
        model=f"pickled:/{folder}/Net.pkl{pinned}",
        checkpoint=f"/{folder}/t.pt",
        class_names=f"/{folder}/names.txt",
        digest="1" * 64,
        others=(TeacherSpec(checkpoint=f"/{folder}/o.pt", digest="2" * 64),),
    )
    data = DataSpec(name="digits", unlabelled=f"folder:/{folder}", digest="3", tokenizer=f"/{folder}/t.json{pinned}")
    return to_record(replace(EXPERIMENT, space=f"pickled:/{folder}/S.pkl{pinned}", teacher=teacher, data=data))


def test_files_that_were_moved_are_the_same_experiment(tmp_path):
    open_folder(tmp_path, place("a"))
    open_folder(tmp_path, place("b"))
    assert read_experiment_record(tmp_path)["teacher"]["checkpoint"] == "/b/t.pt", "the latest place"


def test_files_of_another_content_are_another_experiment(tmp_path):
    open_folder(tmp_path, place("a"))
    for section, change in (
        ("teacher", {"digest": "4" * 64}),
        ("teacher", {"others": [{**place("a")["teacher"]["others"][0], "digest": "4" * 64}]}),
        ("teacher", {"model": place("a", "b")["teacher"]["model"]}),
        ("data", {"tokenizer": place("a", "b")["data"]["tokenizer"]}),
    ):
        record = place("a")
        with pytest.raises(ResultError, match=f"holds another experiment: its {section}.{next(iter(change))} is"):
            check_folder(tmp_path, {**record, section: {**record[section], **change}})
    with pytest.raises(ResultError, match="holds another experiment: its space is"):
        check_folder(tmp_path, {**place("a"), "space": place("a", "b")["space"]})


def test_a_file_of_unknown_content_is_compared_by_its_path(tmp_path):
    for folder in ("a", "b"):
        record = to_record(replace(EXPERIMENT, teacher=TeacherSpec(checkpoint=f"/{folder}/t.pt")))
        if folder == "a":
            open_folder(tmp_path, record)
    with pytest.raises(ResultError, match=r"its teacher\.checkpoint is"):
        check_folder(tmp_path, record)


def test_a_key_that_only_one_record_has_is_a_difference():
    assert first_difference({"a": 1}, {"a": 1, "b": 2}) == "its b is null, here it is 2"
    assert first_difference({"a": {"b": 1}}, {"a": {}}) == "its a.b is 1, here it is null"
    assert first_difference({"a": {"b": 1}}, {"a": {"b": 1}}) == ""


def test_what_a_kill_left_of_a_first_sitting_is_no_obstacle(tmp_path):
    (tmp_path / "lock").touch()
    (tmp_path / "_experiment.json.123").write_text("{")
    open_folder(tmp_path, RECORD)
    assert read_experiment_record(tmp_path) == RECORD


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ResultError, match="is not empty and holds no experiment; give another --out"):
        check_folder(tmp_path, RECORD)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null"])
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / "experiment.json").write_text(text)
    with pytest.raises(ResultError, match=r"experiment\.json cannot be read"):
        check_folder(tmp_path, RECORD)


def test_the_lock_is_free_again_afterwards(tmp_path):
    assert not in_use(tmp_path)
    with lock(tmp_path), pytest.raises(ResultError, match=r"process \d+ is writing to"), lock(tmp_path):
        pass
    with lock(tmp_path):
        assert in_use(tmp_path)
    with lock(tmp_path):
        pass


def test_a_failed_write_leaves_the_old_text_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    storage.write(path, "old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        storage.write(path, json.dumps({}))
    assert path.read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["a.json"]


def test_a_record_of_an_earlier_version_is_the_same_experiment(tmp_path):
    older = {key: value for key, value in RECORD.items() if key != "recipe"}
    older["recipe"] = {key: value for key, value in RECORD["recipe"].items() if key != "clip_norm"}
    storage.write(tmp_path / "experiment.json", json.dumps(older))
    open_folder(tmp_path, RECORD, partial(add_new_fields, Experiment))
    assert read_experiment_record(tmp_path) == RECORD


def test_finals_of_an_earlier_comparison_are_left_out(tmp_path):
    rows = pd.DataFrame(
        {"trial_kind": ["search", "final", "final"], "role": ["search", "a", "a"], "key": ["1", "2", "3"]}
    )
    assert len(of_this_comparison(tmp_path, rows)) == 3
    write_finals(tmp_path, [("a", "3")])
    assert list(of_this_comparison(tmp_path, rows)["key"]) == ["1", "3"]
    (tmp_path / "finals.json").write_text('[["a", "2"]]')  # as the first release wrote it
    assert list(of_this_comparison(tmp_path, rows)["key"]) == ["1", "2"]


def test_trials_by_which_nothing_is_chosen_any_more_are_left_out(tmp_path):
    rows = pd.DataFrame({"trial_kind": ["choice", "choice", "final"], "role": ["a", "a", "a"], "key": ["1", "2", "3"]})
    write_finals(tmp_path, [("a", "3")])
    assert list(of_this_comparison(tmp_path, rows)["key"]) == ["1", "2", "3"]  # a search keeps all of its choice
    write_finals(tmp_path, [("a", "3")], choice=[("a", "2")])
    assert list(of_this_comparison(tmp_path, rows)["key"]) == ["2", "3"]
