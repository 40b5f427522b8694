"""Files of whole lines that are only ever added to: what a kill cuts short is dropped, what was acted on is there."""

from __future__ import annotations

import os
from pathlib import Path

from automl_kd import storage
from automl_kd.results.folder import sync_folder


def whole_lines(path: Path) -> list[bytes]:
    """The lines of the file, none if there is no file; a last one that was cut short is removed from it."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    return whole.splitlines()


def append_line(path: Path, line: str) -> None:
    """Synced when this returns."""
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)
    storage.push(path)
