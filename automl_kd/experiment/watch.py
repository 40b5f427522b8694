"""What an experiment tells whoever watches it."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Told of progress while it happens, in the process that was started by the user. Must not raise."""

    def stage(self, title: str, total: int) -> None:
        """A part of the work begins, of `total` steps; the one before it has ended."""

    def step(self, done: int, note: str = "") -> None:
        """So many steps of the current stage are done."""

    def note(self, text: str) -> None:
        """A line worth keeping on the screen."""


class Silent:
    """Watches nothing."""

    def stage(self, title: str, total: int) -> None: ...

    def step(self, done: int, note: str = "") -> None: ...

    def note(self, text: str) -> None: ...
