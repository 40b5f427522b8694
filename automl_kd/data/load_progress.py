"""How far a set is that takes long to read: whoever asks for it may be told."""

from __future__ import annotations

from collections.abc import Callable

LoadProgress = Callable[[str, int, int], None]
"""Called with what is done, with how many images (see `UNITS`) it is done, and of how many."""

PACKING, SCANNING, MEASURING = "packing images", "checking {} images", "measuring training images"
LISTING, INDEXING, FETCHING = "listing class folders", "indexing shards", "fetching files"

UNITS = {LISTING: "folders", INDEXING: "shards", FETCHING: "files"}
"""Of what is not counted in images."""


def ignore_progress(_what: str, _done: int, _of: int) -> None:
    """For those who do not ask."""
