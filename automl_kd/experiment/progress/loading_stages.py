"""Shows a watcher how far images are that take long to load."""

from __future__ import annotations

import time

from automl_kd.data.load_progress import UNITS
from automl_kd.experiment.progress.events import LOADING_UNIT, Watcher

SLOW_SECONDS = 3.0
"""What takes less is not shown."""


class LoadingStages:
    """A `data.LoadProgress` that makes each thing done a stage of `watcher`, from `SLOW_SECONDS` after the first on."""

    def __init__(self, watcher: Watcher, slow: float = SLOW_SECONDS) -> None:
        self.watcher, self.due, self.shown = watcher, time.monotonic() + slow, ""

    def __call__(self, what: str, done: int, of: int) -> None:
        if what != self.shown:
            if done >= of or time.monotonic() < self.due:
                return
            self.watcher.stage(what, of, UNITS.get(what, LOADING_UNIT))
            self.shown = what
        self.watcher.step(done)
