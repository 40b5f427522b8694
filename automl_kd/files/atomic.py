"""Whole-file writes: beside the file, synced, then renamed over it, so that a reader sees the old file or the new.

A scratch file's name begins with "_", which all readers skip, and holds the machine, the process and a number: two
machines may write to one shared folder, and two threads to one file.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeAlias

from automl_kd.files.reading import open_file

Content: TypeAlias = str | bytes | memoryview

SCRATCH_NUMBERS = itertools.count()
"""Of this process's scratch files."""

SCRATCH_NAME = re.compile(r"_.+\.\d+|_[0-9a-f]{32}-.+", re.DOTALL)
"""_NAME.HOST.PROCESS.NUMBER; earlier versions wrote _NAME.PROCESS and _HEX-NAME."""


def scratch_of(path: Path) -> Path:
    """A name beside `path` that nobody else uses."""
    host = re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname())[:40]
    return path.with_name(f"_{path.name}.{host}.{os.getpid()}.{next(SCRATCH_NUMBERS)}")


def is_scratch(path: Path) -> bool:
    """Whether a writer that was killed may have left the file: its name is one of `scratch_of`, or of earlier versions.

    Objects of programs (`_build-0123456789abcdef.pkl`) and profiles of machines (`_profile-96.json`) are none.
    """
    return SCRATCH_NAME.fullmatch(path.name) is not None


def remove_abandoned(path: Path) -> None:
    """Remove the scratch files and folders for `path` whose process on this machine was killed."""
    name, _, _ = scratch_of(path).name.rpartition(f".{os.getpid()}.")
    for left in path.parent.glob(f"{glob.escape(name)}.*.*"):
        process = left.name.removeprefix(f"{name}.").partition(".")[0]
        if process.isdigit() and not is_alive(int(process)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether this machine has a process of that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """The name of a scratch file, for the caller to make; if the block ends well it takes the place of `path`.

    It is then on the disk, and so is its name, unless it need not be `durable`: then a power cut may leave an empty
    file. If the block or the disk fails, the error passes on, `path` is as it was, and neither the scratch file nor a
    folder that had to be made for it is left.
    """
    scratch = scratch_of(path)
    with created(path.parent):
        try:
            yield scratch
            if durable:
                sync(scratch)
            scratch.replace(path)
        except BaseException:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)
            raise
    if durable:
        sync_folder(path.parent)


def write(path: Path, content: Content, *, durable: bool = True, keep_mode: bool = False) -> None:
    """Make `path` hold `content`, text in UTF-8, whole or not at all. `OSError` if the disk refuses.

    `keep_mode`: the permissions of the file that is there stay.
    """
    with replacing(path, durable=durable) as scratch:
        scratch.write_bytes(content.encode() if isinstance(content, str) else content)
        if keep_mode:
            shutil.copymode(path, scratch)


def create(path: Path, content: Content) -> None:
    """Make the file unless there is one; of several that try at once, one makes it and all find the same."""
    with created(path.parent):
        scratch = scratch_of(path)
        try:
            scratch.write_bytes(content.encode() if isinstance(content, str) else content)
            sync(scratch)
            with suppress(FileExistsError):
                path.hardlink_to(scratch)
        finally:
            scratch.unlink(missing_ok=True)
    sync_folder(path.parent)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file of whole lines; it is on the disk when this returns."""
    with created(path.parent):
        new = not path.exists()
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            flush_to_disk(file)
    if new:
        sync_folder(path.parent)


def whole_lines(path: Path) -> list[bytes]:
    """The lines of the file, none if there is no file; a last one that a kill cut short is removed from it."""
    if not path.exists():
        return []
    with open_file(path) as file:
        content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        write(path, whole)
    return whole.splitlines()


def copy_folder(source: Path, target: Path, *, ignore: Callable[[str, list[str]], set[str]]) -> None:
    """Make the folder `target`, which must not exist, a copy of `source`: whole or not at all.

    `ignore`: as of `shutil.copytree`.
    """
    with making_folder(target) as scratch:
        shutil.copytree(source, scratch, ignore=ignore, dirs_exist_ok=True)


@contextmanager
def making_folder(target: Path) -> Iterator[Path]:
    """An empty scratch folder for the caller to fill; if the block ends well it becomes `target`, on the disk.

    `target` must not exist, or be an empty folder. If the block or the disk fails, the error passes on, and neither the
    scratch folder nor one that had to be made for it is left.
    """
    scratch = scratch_of(target)
    with created(target.parent):
        try:
            scratch.mkdir()
            yield scratch
            for path in (*scratch.rglob("*"), scratch):
                sync_folder(path) if path.is_dir() else sync(path)
            scratch.rename(target)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    sync_folder(target.parent)


@contextmanager
def created(folder: Path) -> Iterator[None]:
    """Make a folder for what is written inside; if that fails, the folders that were missing are removed again."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):  # not made, or in use by others since
                path.rmdir()
        raise
    for path in missing:
        sync_folder(path.parent)


def sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_to_disk(file: IO[Any]) -> None:
    """What was written to the open file is on the disk when this returns."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make names that were given in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
