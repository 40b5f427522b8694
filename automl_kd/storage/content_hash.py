"""Content hashes of files that an experiment names: absolute path and digest of the content in one string.

"/home/ada/process.json@sha256-" and 64 hex digits. A pinned file travels in a spec as it stands, is refused where it no
longer holds the same, and counts in a trial's key by its content alone.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from automl_kd.errors import ConfigError
from automl_kd.files import expand, open_file

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:$")
"""The end of what stands before the two slashes of an address in a bucket."""

PIN = re.compile(r"@sha256-([0-9a-f]{64})$")


def pin(name: str) -> str:
    """The file at the path `name`, pinned; one that is pinned already is checked. `ConfigError` if there is none."""
    path = located_path(name)
    return f"{path}@sha256-{digest_content(path)}"


def located_path(name: str) -> Path:
    """The absolute path of the file that `name`, pinned or not, stands for.

    `ConfigError` if a pinned file is gone or holds something else by now.
    """
    pinned = PIN.search(name)
    path = expand(name[: pinned.start()] if pinned else name).resolve()
    if pinned and digest_content(path) != pinned[1]:
        raise ConfigError(
            f"{path} has changed since it was named in this experiment; put the old content back, or run the "
            "experiment anew under another name"
        )
    return path


def by_content(text: str) -> str:
    """`text` without the path, or address in a bucket, of the file that it pins; other texts as they are.

    A path begins at the first slash.
    """
    pinned = PIN.search(text)
    if pinned is None or "/" not in text:
        return text
    before, _, after = text.partition("/")
    return (SCHEME.sub("", before) if after.startswith("/") else before) + pinned[0]


def digest_content(path: Path) -> str:
    """SHA-256 of the file's content, as 64 hex digits."""
    try:
        with open_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"no file could be read from {path}: {error.strerror}; check the path") from error
