"""Results, checkpoints and images in a bucket: `s3://bucket/prefix` or `gs://bucket/prefix`. May import `files`.

Everything works on local folders, by the room `files`, and what is written through here is sent. An address in a bucket
is stood for by a folder below the user's cache, which `pull` brings up to date and from which `push` sends each file,
when it is whole and durable, as one object. For paths outside that folder nothing is sent or fetched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from automl_kd import files
from automl_kd.errors import StorageError
from automl_kd.files.atomic import Content
from automl_kd.storage.lease import LEASE, held, holder_of
from automl_kd.storage.mirror import BucketMirror, accept_all, mount, no_weights

__all__ = [
    "LEASE",
    "address",
    "append_line",
    "holder",
    "leased",
    "local_path",
    "name_addresses",
    "pull",
    "pull_file",
    "push",
    "reflect",
    "remove_named",
    "remove_objects",
    "replacing",
    "stage",
    "write",
]

MIRRORS: dict[tuple[str, str, str], BucketMirror] = {}
"""Those of this process, by scheme, bucket and query of the addresses that they stand for."""


def local_path(place: Path | str) -> Path:
    """The local path that stands for `place`: itself, or for an address in a bucket its mirror, which is absolute.

    `StorageError` if the address has another form or names no store that there is. Nothing is transferred.
    """
    if "\0" in str(place):
        raise StorageError("a path cannot hold the character NUL; give another one")
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]+)://([^?]*)(?:\?(.*))?", str(place))
    if found is None:
        return Path(place)
    key, query = found[2].rstrip("/"), found[3] or ""
    known = (found[1], key.partition("/")[0], query)
    if known not in MIRRORS:
        MIRRORS[known] = mount(*known)
    return MIRRORS[known].base / key


def address(path: Path) -> str:
    """The inverse of `local_path`: the address for a process on another machine."""
    mirror = mirror_of(path)
    return str(path) if mirror is None else mirror.address(path)


def name_addresses(text: str) -> str:
    """`text` with local paths of mirrors replaced by the addresses for which they stand."""
    for mirror in MIRRORS.values():
        text = text.replace(f"{mirror.base / mirror.bucket}", f"{mirror.scheme}://{mirror.bucket}")
    return text


def mirror_of(path: Path) -> BucketMirror | None:
    return next((mirror for mirror in MIRRORS.values() if mirror.holds(path)), None)


def write(path: Path, content: Content) -> None:
    """Make a file hold `content`, text in UTF-8: whole or not at all, on the disk, and sent. `OSError`, `StorageError`.

    If it cannot be written here, nothing has changed and nothing is left behind.
    """
    files.write(path, content)
    push(path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """As `write`, for content that the caller puts into a scratch file of the name given."""
    with files.replacing(path) as scratch:
        yield scratch
    push(path)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file of whole lines; it is on the disk, and sent, when this returns."""
    files.append_line(path, line)
    push(path)


def push(path: Path) -> None:
    """Send a file that was just written, whole and durable. `StorageError` if that fails for minutes."""
    if (mirror := mirror_of(path)) is not None:
        mirror.push([path])


def remove_objects(paths: Iterable[Path]) -> None:
    """Delete the objects of files that were just deleted."""
    for mirror in MIRRORS.values():
        mirror.remove([path for path in paths if mirror.holds(path)])


def remove_named(folder: Path, names: Collection[str]) -> None:
    """Delete the files of these names below `folder`, here and in the store."""
    here, mirror = folder.rglob("*"), mirror_of(folder)
    paths = {path for path in (*here, *(mirror.listed(folder, accept_all) if mirror else ())) if path.name in names}
    for path in paths:
        path.unlink(missing_ok=True)
    remove_objects(paths)


def pull(folder: Path, *, weights: bool = False, wanted: Callable[[Path], bool] = accept_all) -> None:
    """Make the local files below `folder` those of the store; what was changed here and not there is left alone.

    `weights`: also files of tensors, which only those need who build networks. `wanted`: of files, by local path.
    """
    if (mirror := mirror_of(folder)) is not None:
        mirror.pull(folder, wanted if weights else lambda path: no_weights(path) and wanted(path))


def pull_file(path: Path) -> None:
    """Fetch one object, unless it is here as it is there. Where there is none, nothing happens."""
    if (mirror := mirror_of(path)) is not None:
        mirror.pull_file(path)


def stage(
    path: Path,
    *,
    wanted: Callable[[Path], bool] = accept_all,
    notify: Callable[[int, int], None] = lambda _done, _of: None,
) -> None:
    """Fetch a file, or all below a folder; one process of this machine does so while others wait.

    `StorageError` if what is missing here does not fit on the disk; nothing is fetched then. `wanted`: as of `pull`.
    `notify`: told how many files are fetched, and of how many.
    """
    if (mirror := mirror_of(path)) is not None:
        mirror.stage(path, wanted, notify)


def reflect(folder: Path) -> None:
    """Make the objects below `folder` its local files, of which all were fetched before; its one writer may do so."""
    if (mirror := mirror_of(folder)) is not None:
        mirror.reflect(folder)


def holder(folder: Path) -> str:
    """Who is writing to a folder from another machine just now; empty for nobody."""
    mirror = mirror_of(folder)
    return "" if mirror is None else holder_of(mirror, folder)


@contextmanager
def leased(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Be the only writer of a folder among machines, and bring it up to date in both directions.

    What an earlier session on this machine could not send is sent; if another machine has written since, it is given
    up instead. `wait`: queue up behind another holder instead of raising `StorageError`.
    """
    if (mirror := mirror_of(folder)) is None:
        yield
        return
    with held(mirror, folder, wait=wait) as was_ours:
        mirror.settle(folder, keep=was_ours)
        yield
