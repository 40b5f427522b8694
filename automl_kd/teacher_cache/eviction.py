"""Keeps the teacher cache below its size limit: unused folders are evicted first."""

from __future__ import annotations

import os
import shutil
import weakref
from contextlib import suppress
from pathlib import Path

from automl_kd import files
from automl_kd.storage.mirror import TEACHER_CACHE_FOLDER

IN_USE = "in-use"
"""A file in each folder of the cache: locked while a process works there, touched when one begins."""

SPARE = 2**30
"""Free bytes that the cache leaves on the disk, for checkpoints and tables."""


class Seat:
    """A shared lock on a folder: while it and its process exist, nobody removes the folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / IN_USE, os.O_RDWR | os.O_CREAT, 0o666)
        weakref.finalize(self, os.close, file)
        with suppress(OSError):  # a file system without locks
            files.wait_lock(file, shared=True)
        os.utime(file)


def folders(root: Path) -> list[Path]:
    """All folders of the cache below `root`, the folder of the teachers; the longest unused first."""
    found = [path.parent for path in root.glob(f"*/{TEACHER_CACHE_FOLDER}/*/{IN_USE}")]
    return sorted(found, key=last_used)


def last_used(folder: Path) -> float:
    try:
        return (folder / IN_USE).stat().st_mtime
    except FileNotFoundError:  # removed by another process just now
        return 0.0


def bytes_in(folder: Path) -> int:
    """On the disk: a file's gaps take none."""
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def make_room(root: Path, own: Path, wanted: int, limit: float) -> bool:
    """Whether `wanted` more bytes may be written to the folder `own`, once unused others have gone if that helps."""
    sizes = {folder: bytes_in(folder) for folder in folders(root)}
    room = min(limit - sum(sizes.values()), shutil.disk_usage(own).free - SPARE)
    for folder, size in sizes.items():
        if room >= wanted:
            break
        if folder != own and remove_unused(folder):
            room += size
    return room >= wanted


def remove_unused(folder: Path) -> bool:
    """Remove a folder unless a process works there; one that begins just now finds it gone and runs the teacher."""
    try:
        file = os.open(folder / IN_USE, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        if not files.try_lock(file):
            return False
        shutil.rmtree(folder)
    except OSError:
        return False
    finally:
        os.close(file)
    return True
