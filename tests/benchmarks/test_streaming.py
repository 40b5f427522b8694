"""What the measurements of streamed images rest on: pictures, packs, processes, and that readers begin together."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from automl_kd.data import load_data
from automl_kd.data.encoded.pack import read_pack
from automl_kd.data.stream.decoder import decode_pixels
from automl_kd.spec import DataSpec
from benchmarks.perf.streaming import card, first_batch, memory, processes, sharing
from benchmarks.perf.streaming.pictures import encoded_pictures, link_classes, numbered, write_classes
from benchmarks.perf.streaming.readers import BATCH

HOLDER = """
import os, time
kept, shared = bytearray(b"1") * (64 * 2**20), os.memfd_create("held_batch")
os.write(shared, b"1" * (8 * 2**20))
print(sum(number for number in range(3_000_000)), flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def pictures():
    return encoded_pictures(None, 32, count=3)


def test_a_remark_changes_the_bytes_of_an_image_alone(pictures):
    one, other = numbered(pictures[0], 1), numbered(pictures[0], 2)
    assert one != other
    for changed in (one, other):
        np.testing.assert_array_equal(decode_pixels(changed, "changed"), decode_pixels(pictures[0], "plain"))


def test_pictures_of_a_folder_are_reduced(tmp_path, pictures):
    write_classes(tmp_path / "images", encoded_pictures(None, 64, count=2), 4, classes=2)
    found = encoded_pictures(tmp_path / "images", 32, count=4)
    assert [decode_pixels(one, "reduced").shape for one in found] == [(32, 42, 3)] * 4


def test_a_sparse_pack_is_a_pack_with_few_blocks(tmp_path, pictures):
    memory.write_sparse_pack(tmp_path / "pack", pictures, 40)
    found, file = read_pack(tmp_path / "pack"), tmp_path / "pack" / "images.bin"
    assert [found.images.read(row) for row in (0, 39)] == [numbered(pictures[0], 0), numbered(pictures[0], 39)]
    assert file.stat().st_size == 40 * memory.APART
    assert file.stat().st_blocks * 512 < file.stat().st_size / 4
    dataset = load_data(DataSpec(name=f"pack:{tmp_path / 'pack'}", resolution=8, loading="stream"), tmp_path)
    assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == 40


def test_memory_and_time_of_a_process_are_seen():
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert holder.pid in processes.descendants(os.getpid())
        assert 64 < processes.memory_of(holder.pid) < 128
        assert processes.files_in_memory(holder.pid, "held_batch") == pytest.approx(8, abs=0.1)
        spent = processes.seconds_of(holder.pid)
        assert spent > 0
        assert processes.seconds_below() >= spent
        holder.kill()
    assert processes.memory_of(holder.pid) == 0
    assert holder.pid not in processes.descendants(os.getpid())


ORPHAN = """
import os, subprocess, sys, time
from benchmarks.perf.streaming import processes
processes.adopt_orphans()
work = "import os, time\\nif os.fork(): os._exit(0)\\nwhile time.process_time() < 0.4: pass"  # the kernel rounds down
subprocess.run([sys.executable, "-c", work], check=True)
before = processes.seconds_below()
deadline = time.monotonic() + 60
while (spent := processes.seconds_below() - time.process_time()) < 0.3 and time.monotonic() < deadline: time.sleep(0.05)
sys.exit(spent < 0.3)
"""


def test_the_time_of_a_detached_process_is_counted():
    assert subprocess.run([sys.executable, "-c", ORPHAN], check=False).returncode == 0


@pytest.mark.parametrize("way", first_batch.WAYS)
def test_a_first_batch_comes_by_each_way(tmp_path, pictures, way):
    link_classes(tmp_path / "images", pictures, 80, classes=2)
    batch = first_batch.WAYS[way](tmp_path / "images", tmp_path / "root")
    assert batch.shape == (BATCH, 3, first_batch.SIZE, first_batch.SIZE)
    assert batch.float().std() > 0


def test_readers_that_share_decode_once(tmp_path, pictures):
    write_classes(tmp_path / "images", pictures, 96, classes=1)
    for shared, decoded in ((True, 0.5), (False, 1.0)):
        begun = time.monotonic()
        found = sharing.read_together(tmp_path / "images", 2, 2, 1, shared=shared)
        assert found.decoded == pytest.approx(decoded, rel=0.05)
        assert found.rate > 4 / (time.monotonic() - begun)


def test_views_of_a_card_are_compared(tmp_path, pictures):
    write_classes(tmp_path / "images", pictures, card.TINY.files, card.CLASSES)
    streamed = card.load_images(tmp_path / "images", card.PRIVATE, card.TINY)
    assert card.compare_views(streamed, card.TINY)["bytes of random crops equal"] is True
    resident = card.load_images(tmp_path / "images", card.RESIDENT, card.TINY)
    assert resident.train.streamed is None
    assert len(resident.train) == len(streamed.train)
