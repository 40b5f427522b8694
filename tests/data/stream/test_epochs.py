"""Views on disk: whole or absent, and never more than the limit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from automl_kd.data.stream.epochs import SLOT_HEAD, EpochFiles

STEPS, SHAPE = 4, (3, 50)
EPOCH = STEPS * (SLOT_HEAD.size + 150)


def files_of(folder: Path, key: str = "a", limit: int = 10 * EPOCH) -> EpochFiles:
    return EpochFiles(folder, key, steps=STEPS, batch_bytes=150, limit=limit)


def content(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, SHAPE, dtype=np.uint8)


def held(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.views"))


def test_what_was_written_is_read_by_others(tmp_path):
    files = files_of(tmp_path)
    for number in (5, 0):
        assert files.read(number, SHAPE) is None
        files.write(number, content(number))
    for number in (0, 5):
        np.testing.assert_array_equal(files_of(tmp_path).read(number, SHAPE), content(number))
    assert files_of(tmp_path).read(1, SHAPE) is None
    assert files_of(tmp_path, "b").read(0, SHAPE) is None


def test_a_smaller_last_batch_has_a_slot_too(tmp_path):
    files = files_of(tmp_path)
    files.write(3, content(3)[:1])
    np.testing.assert_array_equal(files.read(3, (1, 50)), content(3)[:1])
    assert files.read(3, SHAPE) is None


@pytest.mark.parametrize("spoilt", [0, 9, SLOT_HEAD.size, SLOT_HEAD.size + 149])
def test_a_slot_of_which_a_byte_differs_counts_as_empty(tmp_path, spoilt):
    files = files_of(tmp_path)
    files.write(0, content(0))
    with (tmp_path / held(tmp_path)[0]).open("r+b") as file:
        file.seek(spoilt)
        (byte,) = file.read(1)
        file.seek(spoilt)
        file.write(bytes([byte ^ 1]))
    assert files.read(0, SHAPE) is None


def test_the_epoch_that_was_unused_longest_is_removed(tmp_path):
    for epoch in range(3):
        files_of(tmp_path).write(epoch * STEPS, content(epoch))
        os.utime(tmp_path / f"a-{epoch:05d}.views", (epoch, epoch))
    os.utime(tmp_path / "a-00000.views", (9, 9))
    files_of(tmp_path, "b", 3 * EPOCH).write(0, content(0))
    assert held(tmp_path) == ["a-00000.views", "a-00002.views", "b-00000.views"]
    assert sum(path.stat().st_size for path in tmp_path.glob("*.views")) <= 3 * EPOCH


def test_an_epoch_that_was_removed_is_written_no_more(tmp_path):
    files = files_of(tmp_path)
    files.write(0, content(0))
    files_of(tmp_path, "b", EPOCH).write(0, content(0))
    files.write(1, content(1))
    assert held(tmp_path) == ["b-00000.views"]
    assert files.read(0, SHAPE) is None
    assert files.read(1, SHAPE) is None


def test_a_limit_below_an_epoch_keeps_none(tmp_path):
    files_of(tmp_path).write(0, content(0))
    files = files_of(tmp_path, "b", EPOCH - 1)
    files.write(0, content(0))
    assert held(tmp_path) == []
    assert files.read(0, SHAPE) is None


def test_a_folder_that_cannot_be_made_keeps_nothing(tmp_path):
    (tmp_path / "file").write_text("no folder")
    files = files_of(tmp_path / "file")
    files.write(0, content(0))
    assert files.read(0, SHAPE) is None


def test_a_full_disk_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("automl_kd.data.stream.epochs.LEFT_FREE", 2**60)
    files = files_of(tmp_path)
    files.write(0, content(0))
    assert held(tmp_path) == []
