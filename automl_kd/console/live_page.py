"""The results page of a running experiment: a thread rewrites it, and it reloads itself."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from automl_kd.console.sentences import stage_facts
from automl_kd.errors import AutoMLKDError
from automl_kd.experiment.progress.events import LOADING_UNITS, StagePlan, TrialStatus, Watcher
from automl_kd.experiment.progress.stage_progress import StageProgress
from automl_kd.results.report.page import Standing, write_page
from automl_kd.results.store.table import ResultTable

EVERY = 20.0
"""Minimum seconds between two pages."""

SHARE = 50.0
"""The pause after a page is at least this multiple of the time that it took: 2 % of one processor at most."""

ROWS_BEFORE_MERGE = 500
"""This many small files are merged into one before the next read: each takes about a millisecond to read."""

MAX_FAILURES = 3
"""Pages that may be missed before a reader should conclude that the run is dead."""


class LivePage:
    """A `Watcher` that passes everything on to `inner` and meanwhile keeps `leaderboard.html` in `folder` up to date.

    A separate thread writes from the first stage after the images are loaded, so reporters never wait. A page that
    cannot be written is written later, or by the report at the end, which also gives the reason. Use it as a context
    manager; the page states it when a run breaks off.
    """

    def __init__(self, inner: Watcher, folder: Path, command: str, every: float = EVERY) -> None:
        self.inner, self.folder, self.command, self.every = inner, folder, command, every
        self.title, self.begun = "", 0.0
        self.progress: StageProgress | None = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.keep, name="results page", daemon=True)

    def __enter__(self) -> LivePage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        if self.thread.is_alive():
            self.thread.join()
            if error is not None:
                headline = f"Interrupted at {now()}, in this stage: {self.title}"
                self.write(Standing(headline, note="The same command continues it."))

    def keep(self) -> None:
        pause = min(self.every, 2.0)
        while not self.ended.wait(pause):
            begun = time.monotonic()
            self.write(self.standing(pause))
            pause = max(self.every, SHARE * (time.monotonic() - begun))

    def standing(self, pause: float) -> Standing:
        progress, seconds = self.progress, max(1, round(pause))
        return Standing(
            headline=f"Running, as of {now()}: {self.title}",
            facts=() if progress is None else stage_facts(progress, time.monotonic() - self.begun),
            note=f"This page is written again about every {seconds} s and reloads itself. If its time stays behind by "
            f"more than {MAX_FAILURES * seconds} s, the run was killed; the same command continues it.",
            reload=seconds,
        )

    def write(self, standing: Standing) -> None:
        try:
            table = ResultTable(self.folder)
            if table.loose() > ROWS_BEFORE_MERGE:
                table.fold()
            write_page(self.folder, self.folder / "leaderboard.html", self.command, standing)
        except (AutoMLKDError, OSError):
            return

    def stage(self, title: str, total: int, unit: str = "steps") -> None:
        self.title, self.begun, self.progress = title, time.monotonic(), None
        self.inner.stage(title, total, unit)
        if self.thread.ident is None and unit not in LOADING_UNITS:  # a refused experiment leaves no page
            self.thread.start()

    def step(self, done: int, note: str = "") -> None:
        self.inner.step(done, note)

    def note(self, text: str) -> None:
        self.inner.note(text)

    def plan(self, plan: StagePlan) -> None:
        self.progress = StageProgress(plan)
        self.inner.plan(plan)

    def trial(self, trial: TrialStatus) -> None:
        if self.progress is not None:
            self.progress.notify(trial)
        self.inner.trial(trial)


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
