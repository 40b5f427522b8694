"""A reader without a helper: whatever it is asked for, in whatever way, the bytes are the same."""

from __future__ import annotations

import os
import pickle
import tempfile

import numpy as np
import pytest
import torch

from automl_kd.data.stream.reader import ViewReader
from automl_kd.data.stream.settings import LoaderSettings, LoaderStats
from automl_kd.errors import DataError
from tests.data.stream.samples import (
    BATCH,
    COUNT,
    CROPS,
    MIDDLES,
    STEPS,
    Expected,
    encoded_images,
    follow,
    read,
    reader_of,
    rows_of,
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return encoded_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def expected(images):
    return Expected(images)


@pytest.fixture
def no_helper(tmp_path, monkeypatch):
    """Helpers are sought in a folder that others may enter, and are not trusted there."""
    folder = tmp_path / "temp" / f"automl_kd-{os.getuid()}"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))


def test_any_rows_are_decoded_on_the_spot(images, expected):
    for threads in (1, 4):
        reader = reader_of(images, threads=threads)
        rows = torch.tensor([7, 49, 0, 7])
        views = reader.read(rows, seed=4, epoch=1)
        assert views.shape == (4, 3, CROPS.height, CROPS.width)
        for row, view in zip(rows, views, strict=True):
            assert torch.equal(view, expected.reader.read(row[None], seed=4, epoch=1)[0])
        assert torch.equal(views[0], views[3])
        assert reader.read(rows[:0], seed=4, epoch=1).shape == (0, 3, CROPS.height, CROPS.width)
        reader.close()


def test_views_change_with_epoch_and_seed_unless_they_are_middles(images):
    rows = torch.arange(10)
    for plan, changes in ((CROPS, True), (MIDDLES, False)):
        reader = reader_of(images, plan, threads=1)
        first = reader.read(rows, seed=4, epoch=1)
        for seed, epoch in ((4, 2), (5, 1)):
            assert torch.equal(first, reader.read(rows, seed=seed, epoch=epoch)) != changes


@pytest.mark.parametrize("threads", [1, 4])
def test_batches_that_are_foreseen_are_the_same(images, expected, no_helper, threads):
    reader = follow(reader_of(images, threads=threads))
    for number in (*range(4, 15), 30, 31, 2, 3, 8, 4):  # over the end of an epoch, and back and forth
        assert torch.equal(read(reader, number), expected[number])
    stats = reader.stats()
    assert stats.delivered == stats.decoded == 17 * BATCH
    assert stats.decoded_again == 2 * BATCH  # 8 and 4
    reader.close()


def test_parts_of_a_batch_are_read_by_the_processes_of_a_trial(images, expected, no_helper):
    readers = [follow(reader_of(images, threads=1)) for _ in range(4)]
    for number in range(8):
        parts = [read(reader, number, slice(place, None, 4)) for place, reader in enumerate(readers)]
        for place, part in enumerate(parts):
            assert torch.equal(part, expected[number][place::4])
    for reader in readers:
        assert reader.stats().delivered == 8 * BATCH / 4
        reader.close()


def test_what_was_not_foreseen_does_not_disturb(images, expected, no_helper):
    reader = follow(reader_of(images, threads=2))
    other = reader_of(images, threads=1)
    for number in range(8):
        assert torch.equal(read(reader, number), expected[number])
        for seed, epoch in ((4, 7), (99, 0)):
            rows = torch.arange(number, number + 5)
            assert torch.equal(reader.read(rows, seed=seed, epoch=epoch), other.read(rows, seed=seed, epoch=epoch))
    assert reader.stats().delivered == 8 * (BATCH + 10)
    reader.close()


def test_evaluation_reads_the_rows_as_they_lie(images, no_helper):
    reader, plain = reader_of(images, MIDDLES, threads=2), reader_of(images, MIDDLES, threads=1)
    reader.follow(order_seed=None, view_seed=0, batch_size=BATCH, steps=STEPS + 1)
    for epoch in (0, 0, 5):
        for rows in torch.arange(COUNT).split(BATCH):
            assert torch.equal(reader.read(rows, seed=epoch, epoch=epoch), plain.read(rows, seed=0, epoch=0))
    assert reader.stats().delivered == 3 * COUNT
    reader.close()


def test_losing_the_helper_is_said_once(images, expected, no_helper, caplog):
    reader = follow(reader_of(images, threads=1))
    for number in range(3):
        assert torch.equal(read(reader, number), expected[number])
    (record,) = caplog.records
    assert "no helper process decodes images: it could not be started" in record.message
    assert "is not a folder of this user alone); this process decodes them itself" in record.message
    reader.close()


def test_an_image_that_cannot_be_read_is_named_where_it_is_asked_for(tmp_path, no_helper):
    images = encoded_images(tmp_path / "temp")
    reader, rows = follow(reader_of(images, threads=1)), rows_of(1)[0]
    images.path(int(rows[5])).write_bytes(b"no image")
    assert len(read(reader, 1, slice(0, 5))) == 5
    with pytest.raises(DataError, match=rf"{int(rows[5])}\.jpg could not be decoded as an image"):
        read(reader, 1)
    assert len(read(reader, 2)) == BATCH
    reader.close()


def test_views_of_an_earlier_trial_are_read_from_the_disk(images, expected, no_helper, tmp_path):
    found = []
    for _ in range(2):
        reader = follow(reader_of(images, threads=1, cache_gb=0.1, folder=str(tmp_path / "views")))
        for number in range(STEPS):
            assert torch.equal(read(reader, number), expected[number])
        stats = reader.stats()
        found.append((stats.decoded, stats.from_disk))
        reader.close()
    assert found == [(STEPS * BATCH, 0), (0, STEPS * BATCH)]


def test_a_reader_goes_to_another_process_by_value_or_by_a_folder(images, expected, tmp_path):
    reader = reader_of(images, threads=1)
    reader.save(tmp_path / "reader")
    for other in (pickle.loads(pickle.dumps(follow(reader))), ViewReader.load(tmp_path / "reader")):
        assert torch.equal(read(other, 3), expected[3])
        assert other.settings == reader.settings


def test_a_closed_reader_decodes_on_the_spot(images, expected, no_helper):
    reader = follow(reader_of(images, threads=2))
    read(reader, 0)
    reader.close()
    assert torch.equal(read(reader, 1), expected[1])
    assert isinstance(reader.stats(), LoaderStats)
    reader.close()


def test_an_index_of_another_length_is_refused(images):
    with pytest.raises(ValueError, match=r"index must be int64 \(50,\), got int64 \(3,\)"):
        ViewReader(images, np.arange(3), CROPS, LoaderSettings())
    with pytest.raises(ValueError, match="mode must be exact or scaled, got 'fast'"):
        ViewReader(images, np.arange(COUNT), CROPS, LoaderSettings(), mode="fast")  # type: ignore[arg-type]
