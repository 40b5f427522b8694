"""Loading that takes long is shown as stages, and loading that does not is not."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from automl_kd.console import live_page
from automl_kd.data import load_data
from automl_kd.errors import DataError
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.progress.loading_stages import LoadingStages
from automl_kd.spec import DataSpec
from tests.data.encoded import forms


class Stages(Silent):
    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def stage(self, title: str, total: int, unit: str = "steps") -> None:
        self.seen.append((title, total, unit))

    def step(self, done: int, note: str = "") -> None:
        self.seen.append((done,))


def test_a_stage_begins_where_something_takes_long_and_is_not_done():
    watcher = Stages()
    notify = LoadingStages(watcher, slow=0.0)
    for done in (5, 10):
        notify("checking training images", done, 10)
    notify("checking test images", 3, 3)
    assert watcher.seen == [("checking training images", 10, "images"), (5,), (10,)]


def test_nothing_is_shown_of_what_is_quick():
    watcher = Stages()
    LoadingStages(watcher, slow=60.0)("checking training images", 1, 2)
    assert watcher.seen == []


@pytest.mark.parametrize(
    ("write", "seen"),
    [
        (forms.write_folder, {"listing class folders", "checking training images", "measuring training images"}),
        (forms.write_shards, {"indexing shards", "checking training images", "measuring training images"}),
        (forms.write_parquet, {"packing images", "measuring training images"}),
    ],
)
def test_all_images_of_a_streamed_set_are_counted(tmp_path, write, seen):
    name = write(tmp_path / "set", forms.samples())
    last: dict[str, tuple[int, int]] = {}
    spec = DataSpec(name=name, resolution=8, loading="stream", mean=(0.5,) * 3, std=(0.5,) * 3)
    found = load_data(spec, tmp_path, notify=lambda what, done, of: last.update({what: (done, of)}))
    assert seen <= set(last)  # a pack of Parquet files is checked as it is made
    assert all(done == of for done, of in last.values())
    assert last["measuring training images"] == (len(found.train), len(found.train))


def test_a_run_that_is_refused_after_loading_leaves_no_page(tmp_path, monkeypatch):
    monkeypatch.setattr(live_page.LivePage, "write", lambda *_: (tmp_path / "page").touch())
    with suppress(DataError), live_page.LivePage(Silent(), Path(), "", every=0.01) as watcher:
        LoadingStages(watcher, slow=0.0)("checking training images", 1, 2)
        raise DataError("refused")
    assert not (tmp_path / "page").exists()
