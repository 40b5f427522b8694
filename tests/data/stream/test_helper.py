"""The helper process: found by all, lost without harm, and gone when nobody reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from automl_kd.data.stream import client
from automl_kd.data.stream.client import HelperSource, LocalSource
from automl_kd.data.stream.plan import ViewPlan
from automl_kd.data.stream.reader import ViewReader
from automl_kd.data.stream.settings import LoaderStats
from tests import ROOT
from tests.data.stream.samples import BATCH, Expected, encoded_images, follow, read, reader_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("decoding helper")]  # one worker, so that one helper serves


@pytest.fixture(scope="module", autouse=True)
def temp(tmp_path_factory) -> Iterator[Path]:
    """Where helpers are found; a short path, as that of a socket must be."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("kd")
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return encoded_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def expected(images):
    return Expected(images)


@pytest.fixture
def readers(images) -> Iterator[Callable[..., ViewReader]]:
    made: list[ViewReader] = []

    def make(**settings) -> ViewReader:
        made.append(follow(reader_of(images, **{"threads": 2, "ring_mb": 1, **settings})))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


def process_of(reader: ViewReader) -> int:
    assert isinstance(reader.source, HelperSource)
    return reader.source.process


def is_alive(process: int) -> bool:
    """Whether it stretches; a child of nobody may stay as a zombie where no init reaps it."""
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def require_batch(reader: ViewReader, number: int, expected: Expected, part: slice = slice(None)) -> None:
    assert torch.equal(read(reader, number, part), expected[number][part]), number


@pytest.mark.parametrize("count", [1, 4])
def test_images_are_decoded_once_for_all_readers(readers, expected, count):
    several = [readers() for _ in range(count)]
    for number in range(20 * count, 20 * count + 20):
        for reader in several:
            require_batch(reader, number, expected)
    assert len({process_of(reader) for reader in several}) == 1
    stats = sum((reader.stats() for reader in several), LoaderStats())
    assert stats.delivered == count * 20 * BATCH
    assert stats.decoded <= 1.05 / count * stats.delivered


def test_parts_of_batches_come_from_one_decoding(readers, expected):
    several = [readers() for _ in range(4)]
    for number in range(200, 212):
        for place, reader in enumerate(several):
            require_batch(reader, number, expected, slice(place, None, 4))
    stats = sum((reader.stats() for reader in several), LoaderStats())
    assert stats.delivered == stats.decoded == 12 * BATCH


def test_readers_that_drift_apart_get_the_same(readers, expected):
    several = [readers() for _ in range(4)]
    for pace in range(15):
        for number, reader in enumerate(several):
            require_batch(reader, 300 + pace * (number + 1), expected)


def test_readers_of_one_process_share_its_own_helper(readers, expected):
    several = [readers(shared=False) for _ in range(3)]
    for number in range(400, 420):
        for reader in several:
            require_batch(reader, number, expected)
    (process,) = {process_of(reader) for reader in several}
    assert sum((reader.stats() for reader in several), LoaderStats()).decoded == 20 * BATCH
    for reader in several[1:]:
        reader.close()
    require_batch(several[0], 420, expected)
    assert process_of(several[0]) == process
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: not is_alive(process))
    later = readers(shared=False)
    require_batch(later, 421, expected)
    assert process_of(later) != process


def test_a_helper_of_ones_own_ends_with_its_reader(readers, expected):
    reader, shared = readers(shared=False), readers()
    for number in range(5):
        require_batch(reader, number, expected)
        require_batch(shared, number, expected)
    process = process_of(reader)
    assert process != process_of(shared)
    reader.close()
    wait_until(lambda: not is_alive(process))
    require_batch(shared, 5, expected)


@pytest.mark.parametrize(("shared", "delay"), [(True, 0.0), (True, 0.003), (True, 0.02), (False, 0.003)])
def test_readers_go_on_when_the_helper_is_killed(readers, expected, shared, delay, caplog):
    several = [readers(shared=shared) for _ in range(2)]
    for reader in several:
        require_batch(reader, 0, expected)
    for process in {process_of(reader) for reader in several}:
        threading.Timer(delay, os.kill, (process, signal.SIGKILL)).start()
    for number in range(1, 40):
        for reader in several:
            require_batch(reader, number, expected)
    wait_until(
        lambda: not any(isinstance(reader.source, HelperSource) and is_alive(process_of(reader)) for reader in several)
    )
    for reader in several:
        require_batch(reader, 40, expected)
        assert isinstance(reader.source, LocalSource)
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "no helper process decodes images: it was lost"
    ] * 2


def test_another_helper_is_started_after_one_was_killed(readers, expected):
    first = readers()
    require_batch(first, 0, expected)
    os.kill(process_of(first), signal.SIGKILL)
    second = readers()
    require_batch(second, 0, expected)
    assert process_of(second) != process_of(first)


def test_a_helper_that_is_silent_is_given_up(readers, expected, monkeypatch):
    monkeypatch.setattr(client, "SILENT_SECONDS", 0.3)
    reader = readers(shared=False)
    require_batch(reader, 0, expected)
    process = process_of(reader)
    os.kill(process, signal.SIGSTOP)
    require_batch(reader, 20, expected)
    assert isinstance(reader.source, LocalSource)
    os.kill(process, signal.SIGKILL)


def test_a_ring_smaller_than_a_batch_is_done_without(readers, images, caplog):
    wide = ViewPlan(400, 400, "random-resized-crop")
    reader = reader_of(images, wide, threads=1, ring_mb=1)
    other = reader_of(images, wide, threads=1)
    follow(reader)
    assert torch.equal(read(reader, 0), read(other, 0))
    assert isinstance(reader.source, LocalSource)
    assert "a batch has 3,840,000 bytes, more than the 1,048,576 of the ring" in caplog.text
    reader.close()


def test_a_helper_that_does_not_start_is_done_without(readers, expected, monkeypatch, caplog):
    monkeypatch.setattr(client, "START_SECONDS", 0.3)
    monkeypatch.setattr(client, "code_version", lambda: "never started")
    monkeypatch.setattr(client, "launch_helper", lambda *_: None)
    reader = readers()
    require_batch(reader, 0, expected)
    assert "it could not be started (it did not answer within 0 s)" in caplog.text
    monkeypatch.setattr(client, "START_SECONDS", 3600)
    require_batch(readers(), 0, expected)
    assert "it could not be started (it did not answer before)" in caplog.text


def test_a_helper_of_another_version_is_done_without(readers, expected, monkeypatch, caplog):
    monkeypatch.setattr(client, "hash_json", lambda record: "one-for-all")
    one = readers()
    require_batch(one, 0, expected)
    monkeypatch.setattr(client, "code_version", lambda: "another")
    other = readers()
    require_batch(other, 0, expected)
    assert isinstance(one.source, HelperSource)
    assert isinstance(other.source, LocalSource)
    assert "it has another version" in caplog.text


def test_where_there_are_no_files_in_memory_it_is_done_without(readers, expected, monkeypatch):
    def refuse(name: str) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", refuse)
    reader = readers()
    require_batch(reader, 0, expected)
    assert isinstance(reader.source, LocalSource)


CLIENT = """
import sys, tempfile
from pathlib import Path
from automl_kd.data.stream.reader import ViewReader
tempfile.tempdir = sys.argv[1]
from tests.data.stream.samples import follow, read
reader = follow(ViewReader.load(Path(sys.argv[2])))
for number in range(100000):
    read(reader, number)
    print(reader.source.process, flush=True)
"""


def test_readers_that_are_killed_leave_nothing_behind(readers, expected, temp, tmp_path):
    readers().save(tmp_path / "reader")
    folder, rng = temp / f"automl_kd-{os.getuid()}", np.random.default_rng(0)
    command = [sys.executable, "-c", CLIENT, str(temp), str(tmp_path / "reader")]
    others = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    processes = {int(other.stdout.readline()) for other in others if other.stdout}
    reader = readers()
    for number, other in enumerate(others):
        time.sleep(float(rng.uniform(0, 0.1)))
        other.kill()
        other.communicate()
        require_batch(reader, number, expected)
    assert processes == {process_of(reader)}
    process = process_of(reader)
    reader.close()
    wait_until(lambda: not is_alive(process))
    assert {path.suffix for path in folder.iterdir()} == {".lock"}
    assert not any(path.read_bytes() for path in folder.iterdir())
