"""Object stores through pyarrow's file systems: the only place that knows of S3 or Google's storage."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import parse_qsl

from automl_kd.errors import StorageError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

CONNECT_SECONDS = 10.0
REQUEST_SECONDS = 60.0
TRANSFER_CHUNK = 2**22

OPTIONS = {"s3": ("endpoint_override", "region", "scheme"), "gs": ("endpoint_override", "scheme")}
"""What may stand behind the question mark of an address, by its scheme."""

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
"""Variables of the environment; the first that is set counts."""


class Stamp(NamedTuple):
    """Changes when an object is written again, unless within the store's resolution of time and with the same size."""

    size: int
    time_ns: int


class Store(Protocol):
    """Objects by key, "bucket/rest". Each is written in one step: no reader may see half of one.

    Every method may raise `OSError`, `chunks` `FileNotFoundError` for an object that is gone.
    """

    def find(self, prefix: str) -> Mapping[str, Stamp]:
        """All objects below `prefix`."""
        ...

    def stamp(self, key: str) -> Stamp | None: ...

    def put(self, key: str, content: bytes) -> Stamp: ...

    def chunks(self, key: str) -> Iterator[bytes]: ...

    def delete(self, key: str) -> None: ...


class ArrowStore:
    """A store behind one of pyarrow's file systems."""

    def __init__(self, system: FileSystem) -> None:
        self.system = system

    def find(self, prefix: str) -> Mapping[str, Stamp]:
        from pyarrow import fs  # noqa: PLC0415 - only for those who use a bucket

        found = self.system.get_file_info(fs.FileSelector(prefix, recursive=True, allow_not_found=True))
        files = {info.path: object_stamp(info) for info in found if info.type == fs.FileType.File}
        if not files:
            self.require_bucket(prefix.partition("/")[0])
        return files

    def require_bucket(self, bucket: str) -> None:
        """A listing of a bucket that is not there is empty as well."""
        from pyarrow import fs  # noqa: PLC0415 - likewise

        if self.system.get_file_info(bucket).type == fs.FileType.NotFound:
            raise FileNotFoundError(f"there is no bucket {bucket!r}")

    def stamp(self, key: str) -> Stamp | None:
        from pyarrow import fs  # noqa: PLC0415 - likewise

        info = self.system.get_file_info(key)
        return object_stamp(info) if info.type == fs.FileType.File else None

    def put(self, key: str, content: bytes) -> Stamp:
        import pyarrow as pa  # noqa: PLC0415 - likewise

        # All at once: a stream that is closed after half of its content would make an object of that half.
        with self.system.open_output_stream(key) as sink:
            sink.write(pa.py_buffer(content))
        return object_stamp(self.system.get_file_info(key))

    def chunks(self, key: str) -> Iterator[bytes]:
        with self.system.open_input_stream(key) as source:
            while chunk := source.read(TRANSFER_CHUNK):
                yield chunk

    def delete(self, key: str) -> None:
        self.system.delete_file(key)


def object_stamp(info: Any) -> Stamp:
    return Stamp(info.size or 0, info.mtime_ns or 0)


def settings_of(scheme: str, query: str) -> dict[str, str]:
    """How the store is reached, by the address and else the environment. `StorageError` for what is not known."""
    given = dict(parse_qsl(query))
    if unknown := next((name for name in given if name not in OPTIONS[scheme]), ""):
        raise StorageError(
            f"{unknown!r} behind the question mark of an address is not known; {', '.join(OPTIONS[scheme])} are"
        )
    if scheme == "s3":
        found = {"endpoint_override": first_set(ENDPOINTS), "region": first_set(REGIONS)}
        given = {name: value for name, value in found.items() if value} | given
    return given


def first_set(names: tuple[str, ...]) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def make_store(scheme: str, bucket: str, settings: Mapping[str, str]) -> Store:
    """The store of `bucket`. Credentials are found in the standard places of S3 and Google Cloud Storage."""
    from pyarrow import fs  # noqa: PLC0415 - only for those who use a bucket

    if scheme == "gs":
        from datetime import timedelta  # noqa: PLC0415 - likewise

        return ArrowStore(fs.GcsFileSystem(retry_time_limit=timedelta(seconds=REQUEST_SECONDS), **settings))
    settings = dict(settings)
    if not settings.get("region") and not settings.get("endpoint_override"):
        settings["region"] = fs.resolve_s3_region(bucket)
    return ArrowStore(
        fs.S3FileSystem(
            connect_timeout=CONNECT_SECONDS,
            request_timeout=REQUEST_SECONDS,
            allow_delayed_open=True,  # one request for a small object
            **settings,
        )
    )


def reason(error: Exception) -> str:
    """A store's answer, without what changes from one request to the next."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return re.sub(r"\s*\(Request ID: [^)]*\)", "", text).rstrip(". ")
