"""A bucket on an S3 server of this machine, and machines that share it."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from automl_kd import storage
from automl_kd.storage import lease
from automl_kd.storage.mirror import BucketMirror

ROOT = "s3://bucket/runs"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of an S3 server."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address in a bucket that is new and empty, with the environment that reaches it."""
    for method, path in (("POST", "moto-api/reset"), ("PUT", "bucket")):
        urllib.request.urlopen(urllib.request.Request(f"{server}/{path}", method=method)).close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return ROOT


def mirrored(path: Path) -> BucketMirror:
    """The mirror that holds a path."""
    found = storage.mirror_of(path)
    assert found is not None
    return found


@pytest.fixture
def on_machine(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes this process one on the machine of that name, which has a cache of its own; gives the bucket's folder."""

    monkeypatch.setattr(lease, "SETTLE_SECONDS", 0.05)

    def be(name: str) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        monkeypatch.setattr(storage, "MIRRORS", {})
        return storage.local_path(bucket)

    be("first")
    return be
