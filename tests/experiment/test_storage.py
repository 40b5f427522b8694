"""The whole command on a file system that fills up, and then is gone: it says so, and goes on afterwards."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.checks import Seen, look
from tests.faults.session import SearchSession, until
from tests.faults.torture import EXPERIMENT, NAME

FEW = ["--set", "trial.retries=1"]

WAIT = 900.0
"""Seconds after which a sitting hangs."""

pytestmark = [pytest.mark.ray, pytest.mark.long]


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A file system of 48 MiB, mounted twice: once to be used, and once to be kept while that is not there."""
    store, place = tmp_path / "store", tmp_path / "disk"
    store.mkdir()
    place.mkdir()
    if not done("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(store)):
        pytest.skip("nobody may mount a file system here")
    assert done("mount", "--bind", str(store), str(place))
    yield place
    assert done("umount", "--lazy", str(place))
    assert done("umount", "--lazy", str(store))


def done(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 2**10, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)


def test_a_full_and_a_lost_disk_end_it_in_a_sentence_and_the_same_command_goes_on(disk, tmp_path):
    (tmp_path / "experiment.toml").write_text(EXPERIMENT, encoding="utf-8")
    folder, seen = disk / NAME, Seen()

    def sit() -> SearchSession:
        return SearchSession(["search", str(tmp_path / "experiment.toml"), "--out", str(disk), *FEW], tmp_path)

    def rows() -> int:
        return len(list(folder.glob("rows/*/[!_]*")))

    def ends(session: SearchSession, code: int, *sentences: str) -> None:
        nonlocal seen
        assert session.wait(WAIT)
        said = session.stderr()
        session.end()
        assert session.code == code, said
        assert "Traceback" not in said
        assert not sentences or any(sentence in said.splitlines()[-1] for sentence in sentences)
        seen, wrong = look(folder, seen)
        assert wrong == []

    sitting = sit()
    assert until(lambda: rows() >= 2 or sitting.code is not None, WAIT)
    fill(disk / "filler")
    ends(sitting, 2, "make room")
    ends(sit(), 2, "make room")
    (disk / "filler").unlink()
    before, sitting = rows(), sit()
    assert until(lambda: rows() > before or sitting.code is not None, WAIT)
    assert done("umount", "--lazy", str(disk))
    kept = seen
    assert sitting.wait(WAIT)
    assert (sitting.code, "bring its file system back" in sitting.stderr().splitlines()[-1]) == (2, True)
    assert done("mount", "--bind", str(disk.with_name("store")), str(disk))
    ends(sitting, 2)
    assert kept.rows.keys() < seen.rows.keys()
    ends(sit(), 0)
    assert len(seen.proposals) == 6
    assert {row["status"] for row in seen.rows.values()} <= {"complete", "stopped"}
