"""A local folder that stands for an object store, file by file.

Beside the mirrored files lie marks: for each file its stamps here and there when the two were last the same. They
distinguish files changed here, changed there or deleted there from unchanged ones, whatever was killed in between.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

from automl_kd import files
from automl_kd.errors import StorageError
from automl_kd.storage.store import Stamp, Store, make_store, reason, settings_of

PATIENCE_SECONDS = 120.0
"""How long sending a file is retried before the run ends; the next session sends what is left."""

PARALLEL_TRANSFERS = 16
"""Transfers at the same time."""

ROUNDS = 10
"""How often a listing is taken anew while files come and go under our hands."""

T = TypeVar("T")

BUCKET_ADVICE = "check the name, the network, and that this process has credentials for it"

MARKS_FOLDER = ".marks"
LOCKS_FOLDER = ".locks"
SCHEMES = {"s3": "s3", "gs": "gs", "gcs": "gs"}
TEACHER_CACHE_FOLDER = "bank"
"""In a teacher's folder. It keeps its first name, so that caches of earlier versions are found."""
LOCAL_ONLY = ("lock", "lease.json")


def mount(scheme: str, bucket: str, query: str) -> BucketMirror:
    """The mirror of the store that holds `scheme://bucket/...?query`; `StorageError` if there can be none."""
    if scheme not in SCHEMES or not bucket:
        raise StorageError(
            f"{scheme}://{bucket} is no place for files; give a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
        )
    kind = SCHEMES[scheme]
    settings = settings_of(kind, query)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "automl_kd" / kind
    if endpoint := settings.get("endpoint_override"):  # where there may be a bucket of the same name
        cache = cache.with_name(f"{kind}-{hashlib.sha256(endpoint.encode()).hexdigest()[:8]}")
    try:
        store = make_store(kind, bucket, settings)
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(f"{kind}://{bucket} cannot be reached ({reason(error)}); {BUCKET_ADVICE}") from error
    return BucketMirror(store, cache, kind, bucket, urlencode(settings))


def accept_all(_path: Path) -> bool:
    return True


def no_weights(path: Path) -> bool:
    return path.suffix != ".pt"


@dataclass(frozen=True, eq=False)
class BucketMirror:
    """`base / bucket / ...` stands for the object `bucket/...`.

    `guards`: by folder, what is called before anything in it is written or deleted, and may refuse that.
    """

    store: Store
    base: Path
    scheme: str
    bucket: str
    query: str = ""
    guards: dict[Path, Callable[[], None]] = field(default_factory=dict)

    def holds(self, path: Path) -> bool:
        return path.is_relative_to(self.base / self.bucket)

    def name(self, path: Path) -> str:
        return f"{self.scheme}://{self.key(path)}"

    def address(self, path: Path) -> str:
        """The name with all that a process in another environment must know, credentials excepted."""
        return self.name(path) + (f"?{self.query}" if self.query else "")

    def key(self, path: Path) -> str:
        return path.relative_to(self.base).as_posix()

    def push(self, paths: Iterable[Path]) -> None:
        """Send files, each as one object."""
        for_each(self._push, list(paths))

    def remove(self, paths: Iterable[Path]) -> None:
        """Delete objects; one that is gone already is as good."""
        for_each(self._remove, list(paths))

    def _push(self, path: Path) -> None:
        here, content = local_stamp(path), path.read_bytes()
        self.mark(path, here, self.patiently(path, lambda: self.store.put(self.key(path), content)))

    def _remove(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            self.patiently(path, lambda: self.store.delete(self.key(path)))
        self.mark_of(path).unlink(missing_ok=True)

    def patiently(self, path: Path, change: Callable[[], T]) -> T:
        """Change an object, trying again for a while if the store does not answer."""
        end, pause = time.monotonic() + PATIENCE_SECONDS, 0.5
        while True:
            try:
                for folder, guard in self.guards.items():
                    if path.is_relative_to(folder):
                        guard()
                return change()
            except FileNotFoundError:
                raise
            except OSError as error:
                if time.monotonic() + pause > end:
                    raise StorageError(
                        f"{self.name(path)} could not be written ({reason(error)}); when the storage can be reached, "
                        "the same command continues from what is kept on this machine"
                    ) from error
                time.sleep(pause)
                pause = min(2 * pause, 10.0)

    def pull(
        self,
        folder: Path,
        wanted: Callable[[Path], bool],
        notify: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> None:
        """Make the files below `folder` those of the store; what was changed here and not there stays.

        The listing is taken until nothing is left to do: of files folded into one meanwhile, an earlier listing may
        hold neither these nor that.
        """
        for _ in range(ROUNDS):
            remote = self.listed(folder, wanted)
            stale = [path for path, stamp in remote.items() if self.is_stale(path, stamp)]
            gone = [path for path in self.present(folder) if path not in remote and wanted(path)]
            gone = [path for path in gone if self.is_unchanged(path)]
            for path in gone:
                path.unlink(missing_ok=True)
                self.mark_of(path).unlink(missing_ok=True)
            for_each(lambda path: self._get(path, remote[path]), stale, notify)  # noqa: B023 - called within this round
            if not stale and not gone:
                return

    def pull_file(self, path: Path) -> None:
        stamp = self.asked(path, lambda: self.store.stamp(self.key(path)))
        if stamp is not None and self.is_stale(path, stamp):
            self._get(path, stamp)

    def stage(self, path: Path, wanted: Callable[[Path], bool], notify: Callable[[int, int], None]) -> None:
        """Fetch a file, or all below a folder, alone on this machine, unless the disk has no room for it."""
        lock = self.base / LOCKS_FOLDER / hashlib.sha256(self.key(path).encode()).hexdigest()[:16]
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("ab") as held:
            files.wait_lock(held)
            remote = dict(self.listed(path, wanted))
            if (stamp := self.asked(path, lambda: self.store.stamp(self.key(path)))) is not None:
                remote[path] = stamp
            needed = sum(stamp.size for file, stamp in remote.items() if self.is_stale(file, stamp))
            free = shutil.disk_usage(self.base).free
            if needed > free:
                raise StorageError(
                    f"{self.name(path)} has {needed / 1e9:.1f} GB to fetch, and {self.base} {free / 1e9:.1f} GB free; "
                    "make room, or set XDG_CACHE_HOME to a folder on a larger disk"
                )
            self.pull_file(path)
            self.pull(path, wanted, notify)

    def settle(self, folder: Path, *, keep: bool) -> None:
        """Send what was changed here alone (`keep`), or give it up, and fetch the rest."""
        remote = self.listed(folder, accept_all)
        kept = [path for path in self.present(folder) if is_kept(path.relative_to(folder))]
        changed = [path for path in kept if not self.is_unchanged(path)]
        ours = [path for path in changed if path not in remote or not self.is_stale(path, remote[path])]
        if keep:
            self.push(ours)
        else:
            for path in ours:
                path.unlink(missing_ok=True)
        self.pull(folder, no_weights)

    def reflect(self, folder: Path) -> None:
        """Make the objects those files that are here: send what was changed, delete what was here and is gone."""
        remote = self.listed(folder, accept_all)
        self.remove([path for path in remote if not path.exists() and self.marked(path) is not None])
        kept = [path for path in self.present(folder) if is_kept(path.relative_to(folder))]
        self.push([path for path in kept if not self.is_unchanged(path)])

    def listed(self, folder: Path, wanted: Callable[[Path], bool]) -> Mapping[Path, Stamp]:
        found = self.asked(folder, lambda: self.store.find(self.key(folder)))
        paths = {self.base / key: stamp for key, stamp in found.items()}
        return {path: stamp for path, stamp in paths.items() if path.name not in LOCAL_ONLY and wanted(path)}

    def present(self, folder: Path) -> list[Path]:
        return [path for path in folder.rglob("*") if path.is_file()]

    def asked(self, path: Path, question: Callable[[], T]) -> T:
        try:
            return question()
        except OSError as error:
            raise StorageError(f"{self.name(path)} cannot be read ({reason(error)}); {BUCKET_ADVICE}") from error

    def _get(self, path: Path, there: Stamp) -> None:
        try:
            with files.replacing(path) as scratch, scratch.open("wb") as sink:
                for chunk in self.content(path):
                    sink.write(chunk)
        except FileNotFoundError:
            return  # deleted since it was listed
        self.mark(path, local_stamp(path), there)

    def content(self, path: Path) -> Iterator[bytes]:
        try:
            yield from self.store.chunks(self.key(path))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(f"{self.name(path)} cannot be read ({reason(error)}); {BUCKET_ADVICE}") from error

    def mark_of(self, path: Path) -> Path:
        return self.base / MARKS_FOLDER / path.relative_to(self.base)

    def mark(self, path: Path, here: Stamp | None, there: Stamp) -> None:
        mark = self.mark_of(path)
        # A mark that is lost, or empty, is as good as none: the file is then compared or sent once more.
        files.write(mark, " ".join(map(str, (*(here or ()), *there))), durable=False)

    def marked(self, path: Path) -> tuple[Stamp, Stamp] | None:
        """The stamps here and there of the last time that both were the same; None if never."""
        try:
            size, modified, *there = map(int, self.mark_of(path).read_text(encoding="utf-8").split())
            return Stamp(size, modified), Stamp(*there)
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def is_unchanged(self, path: Path) -> bool:
        mark = self.marked(path)
        return mark is not None and mark[0] == local_stamp(path)

    def is_stale(self, path: Path, there: Stamp) -> bool:
        mark = self.marked(path)
        return mark is None or mark[1] != there or not path.exists()


def local_stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


def is_kept(name: Path) -> bool:
    """Whether a file is sent at all: not a lock, nothing unfinished, nothing that each machine has of its own."""
    own = (part == TEACHER_CACHE_FOLDER or part.startswith(("_", ".", "tune-")) for part in name.parts)
    return name.name not in LOCAL_ONLY and not any(own)


def for_each(
    act: Callable[[Path], None], paths: list[Path], notify: Callable[[int, int], None] = lambda _done, _of: None
) -> None:
    """`act` on all paths, several at once; the first error is raised when all have been tried.

    `notify`: told, by this thread, how many are done, and of how many.
    """
    if len(paths) == 1:
        act(paths[0])
        notify(1, 1)
    elif paths:
        with ThreadPoolExecutor(min(PARALLEL_TRANSFERS, len(paths))) as pool:
            for number, done in enumerate([pool.submit(act, path) for path in paths], start=1):
                done.result()
                notify(number, len(paths))
