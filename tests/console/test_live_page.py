"""The page of a run that lives: written beside the work, never in its way, whole at any time."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest

from automl_kd.console import live_page
from automl_kd.console.live_page import LivePage
from automl_kd.errors import ResultError
from automl_kd.experiment.progress.events import Silent, StagePlan, TrialStatus
from automl_kd.results.store.table import ResultTable
from tests.results.synthetic import curve, row, write_experiment


def wait_for(holds) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    write_experiment(folder, trials=4)
    return folder


def test_a_page_says_how_the_run_stands_and_reloads_until_it_ends(folder):
    page = folder / "leaderboard.html"
    with LivePage(Silent(), folder, "automl-kd search", every=0.01) as watcher:
        assert not page.exists()
        watcher.stage("search, 4 trials by random", 4)
        watcher.plan(StagePlan(trials=4, work=4.0, workers=2, baseline="plain KD"))
        watcher.trial(TrialStatus(key="a", number=0, label="basic 1-1-1", epochs=4, epoch=1, val_accuracy=0.5))
        wait_for(page.exists)
        text = page.read_text()
    assert "UTC: search, 4 trials by random" in text
    assert "<dt>trials</dt><dd>1 running, 3 to come; 1 of 2 workers busy</dd>" in text
    assert "50.00 % on validation (basic 1-1-1, epoch 1 of 4)" in text
    assert '<meta http-equiv="refresh" content="1">' in text
    assert "digits-tiny" in text
    assert not watcher.thread.is_alive()
    assert not list(folder.glob("_*"))


def test_a_run_that_begins_no_stage_leaves_no_page(tmp_path):
    with suppress(ResultError), LivePage(Silent(), tmp_path / "x", "", every=0.01) as watcher:
        watcher.note("nothing was found")
        raise ResultError("refused")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_disturbs_nobody(tmp_path):
    tried = threading.Event()

    class Watched(LivePage):
        def write(self, standing) -> None:
            super().write(standing)
            tried.set()

    (tmp_path / "rows" / "trial_kind=search").mkdir(parents=True)
    (tmp_path / "rows" / "trial_kind=search" / "a.parquet").write_bytes(b"torn")
    with Watched(Silent(), tmp_path, "", every=0.01) as watcher:
        watcher.stage("search", 4)
        assert tried.wait(60)
        tried.clear()
        assert tried.wait(60)
    assert not (tmp_path / "leaderboard.html").exists()


def test_many_small_files_are_gathered(tmp_path, monkeypatch):
    monkeypatch.setattr(live_page, "ROWS_BEFORE_MERGE", 2)
    table = ResultTable(tmp_path)
    for key in ("a", "b", "c"):
        table.append(row(key=key), curve(0.5, 2))
    before = table.read()
    with LivePage(Silent(), tmp_path, "", every=0.01) as watcher:
        watcher.stage("search", 4)
        wait_for((tmp_path / "leaderboard.html").exists)
    assert table.loose() == 0
    assert before.equals(table.read())
