"""The reading of files that somebody names: only regular ones, and no more of them than makes sense.

A pipe would be waited for without end, and a device read without end. What cannot be read is a `FileError`, which is an
`OSError` whose `strerror` says why, so that whoever knows more about the file can say that.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

from automl_kd.errors import FileError

TEXT_LIMIT = 16 * 2**20
"""Bytes of an experiment, a model card or a list: many times what any of ours has."""

FILE_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def expand(name: str | Path) -> Path:
    """The path `name` with `~` and `~user` replaced; `FileError` for a user that there is not, or a name with a NUL."""
    if "\0" in str(name):
        raise FileError(errno.EINVAL, "a path cannot hold the character NUL", str(name).replace("\0", "\\0"))
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise FileError(errno.ENOENT, "no home folder is known for this user", str(name)) from error


def require_file(path: Path, *, limit: int | None = None) -> int:
    """The size of the regular file at `path`; `FileError` for what is none, is not there, or has more than `limit`."""
    try:
        status = path.stat()
    except OSError as error:
        raise FileError(error.errno, error.strerror, str(path)) from error
    except ValueError as error:  # a NUL, or a character that the file system's encoding lacks
        raise FileError(errno.EINVAL, f"this is no path ({error})", ascii(str(path))) from error
    check(path, status, limit)
    return status.st_size


def check(path: Path, status: os.stat_result, limit: int | None) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        found = FILE_KINDS.get(kind, "something else")
        raise FileError(errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL, f"it is {found}, not a file", str(path))
    if limit is not None and status.st_size > limit:
        message = f"it has {status.st_size:,} bytes, more than the {limit:,} that are read"
        raise FileError(errno.EFBIG, message, str(path))


def open_file(path: Path, *, limit: int | None = None) -> io.BufferedReader:
    """The regular file at `path`, open for reading; never waits for the other end of a pipe. Errors: `require_file`."""
    require_file(path, limit=limit)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FileError(error.errno, error.strerror, str(path)) from error
    try:
        check(path, os.fstat(handle), limit)  # it may be another one by now
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: Path, *, limit: int = TEXT_LIMIT) -> bytes:
    """The content of the regular file at `path`, of at most `limit` bytes."""
    with open_file(path, limit=limit) as file:
        try:
            content = file.read(limit + 1)
        except OSError as error:
            raise FileError(error.errno, error.strerror, str(path)) from error
    if len(content) > limit:  # the size that the system states is none, as in /proc
        raise FileError(errno.EFBIG, f"it has more than the {limit:,} bytes that are read", str(path))
    return content


def read_text(path: Path, *, limit: int = TEXT_LIMIT) -> str:
    """The text, in UTF-8 with or without a byte order mark, of the regular file at `path`."""
    try:
        return read_bytes(path, limit=limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(errno.EILSEQ, "it is not text in UTF-8", str(path)) from error


def read_json(path: Path, *, limit: int = TEXT_LIMIT) -> Any:
    """What the JSON file at `path` holds; `FileError` also for what is no JSON, or nested beyond measure."""
    text = read_text(path, limit=limit)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FileError(errno.EILSEQ, f"it is not JSON: {reason}", str(path)) from error
