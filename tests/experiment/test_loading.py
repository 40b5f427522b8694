"""Where images are kept: settled once for a results folder, and no part of what a trial is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from automl_kd import data, memory
from automl_kd.config import to_record
from automl_kd.errors import ResultError
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.results.store.folder import check_folder, open_folder
from automl_kd.spec import DataSpec
from tests import tiny
from tests.data.encoded import forms


@pytest.fixture
def opened(tmp_path) -> Callable[..., ExperimentContext]:
    """A session of the experiment as far as its trials, on images of a folder."""
    name = forms.write_folder(tmp_path / "set", forms.samples(count=4))

    def find(loading: Any = "auto", *, folder: str = "results", **recipe: Any) -> ExperimentContext:
        chosen = replace(tiny.RECIPE, **recipe)
        spec = DataSpec(name=name, resolution=8, loading=loading)
        experiment = tiny.experiment(data=spec, recipe=chosen, teacher=replace(tiny.TEACHER, recipe=chosen))
        context = prepare_experiment(experiment, Roots(results=tmp_path / folder, data=tmp_path / "data"), Silent())
        check_folder(context.folder, to_record(context.experiment), account=context.account)
        open_folder(context.folder, to_record(context.experiment), account=context.account)
        return context

    return find


def is_streamed(context: ExperimentContext) -> bool:
    return context.dataset.train.streamed is not None


def make_large(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """The 40 images, of 192 bytes each, are too many for what is kept in memory, or for this machine."""
    if limit == "set":
        monkeypatch.setattr(data, "RESIDENT_BYTES", 40 * 192 - 1)
    else:
        monkeypatch.setattr(memory, "machine_bytes", lambda: 2 * 40 * 192 - 1)


@pytest.mark.parametrize("limit", ["set", "machine"])
def test_auto_streams_what_is_too_large(opened, monkeypatch, limit):
    assert not is_streamed(opened(folder="before"))
    make_large(monkeypatch, limit)
    context = opened()
    assert is_streamed(context)
    assert context.experiment.data.loading == "stream"


def test_auto_streams_what_random_parts_are_shown_of(opened):
    assert is_streamed(opened(augment="random-resized-crop"))
    assert not is_streamed(opened("resident", folder="other", augment="random-resized-crop"))


def test_a_later_session_goes_on_as_the_first_one(opened, monkeypatch):
    assert not is_streamed(opened(folder="small"))
    with monkeypatch.context() as patch:
        make_large(patch, "set")
        first = opened(folder="large")
        assert not is_streamed(opened(folder="small"))  # on a machine that would stream
    again = opened(folder="large")  # on one that would not
    assert is_streamed(again)
    assert again.account["digest"] == first.account["digest"]


def test_another_choice_in_the_same_folder_is_refused(opened):
    opened()
    with pytest.raises(ResultError, match=r"its data\.loading is|have changed"):
        opened("stream")


def test_keys_follow_the_images_and_not_where_they_are_kept():
    known = DataSpec(name="folder:/set", digest="0" * 16)
    keys = {tiny.spec(data=replace(known, loading=way)).key for way in ("auto", "resident", "stream")}
    assert len(keys) == 1
    assert tiny.spec(data=replace(known, digest="1" * 16)).key not in keys
