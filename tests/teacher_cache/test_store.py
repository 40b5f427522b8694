"""The bank on disk: what was written is read bit for bit, what was torn is not there, and limits and claims hold."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from automl_kd.teacher_cache.eviction import bytes_in, folders
from automl_kd.teacher_cache.store import HEAD, TeacherCacheStore, dense

IMAGES, STEPS = 6, 5


def bank(root: Path, name: str = "one", limit: float = 1e9) -> TeacherCacheStore:
    made = TeacherCacheStore(
        root / "teacher" / "bank" / name, root, {"of": name}, images=IMAGES, steps=STEPS, limit=limit
    )
    made.turn(1, ())
    return made


def outputs(seed: int, images: int = IMAGES) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(images, 4, 3, 3, generator=generator)
    return {
        "logits": torch.randn(images, 7, generator=generator),
        "half": torch.randn(images, 5, generator=generator).bfloat16(),
        "maps": maps.contiguous(memory_format=torch.channels_last),
        "pooled": maps.mean((2, 3), keepdim=True),
    }


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(
        torch.equal(value, two[name]) and value.stride() == two[name].stride() and value.dtype == two[name].dtype
        for name, value in one.items()
    )


def test_a_batch_is_read_as_it_was_written_also_by_others(tmp_path):
    one = bank(tmp_path)
    assert one.read(0, IMAGES) is None
    assert one.write(2, outputs(0), 0.25)
    assert one.write(4, outputs(1, images=3), 0.5)  # an epoch's last batch may be smaller
    for reader in (one, bank(tmp_path)):
        found = reader.read(2, IMAGES)
        assert found is not None
        assert same(found[0], outputs(0))
        assert found[1] == 0.25
        last = reader.read(4, 3)
        assert last is not None
        assert same(last[0], outputs(1, images=3))
        assert reader.read(4, IMAGES) is reader.read(3, IMAGES) is reader.read(0, IMAGES) is None
        reader.turn(2, ())
        assert reader.read(2, IMAGES) is None
        reader.turn(1, (0, 2))  # pieces of batches
        assert reader.read(2, IMAGES) is None


def test_what_lies_otherwise_than_the_first_batch_is_not_kept(tmp_path):
    one = bank(tmp_path)
    assert one.write(0, outputs(0), 0.0)
    other = outputs(1)
    other["maps"] = other["maps"].contiguous()
    assert not one.write(1, other, 0.0)
    assert not one.write(1, {**outputs(1), "logits": outputs(1)["logits"].double()}, 0.0)
    assert one.read(1, IMAGES) is None


@pytest.mark.parametrize("value", [torch.ones(1, 7).expand(6, 7), torch.ones(6, 8)[:, :7], torch.ones(7, 6).T])
def test_gaps_overlaps_and_other_orders_are_not_dense(value):
    assert not dense(value)
    assert dense(value.contiguous())


@pytest.mark.parametrize("tear", ["cut", "zeros", "bit", "head", "moved"])
def test_a_torn_slot_is_not_there_and_can_be_written_again(tmp_path, tear):
    one = bank(tmp_path)
    for step in range(STEPS):
        one.write(step, outputs(step), 1.0)
    path, start = one.folder / one.name, 3 * one.slot
    content = bytearray(path.read_bytes())
    if tear == "cut":
        content = content[: start + one.slot // 2]
    elif tear == "zeros":
        content[start + 64 : start + 128] = bytes(64)
    elif tear == "bit":
        content[start + 200] ^= 1
    elif tear == "head":
        content[start : start + HEAD.size] = bytes(HEAD.size)
    else:
        content[start : start + one.slot] = content[2 * one.slot : start]
    path.write_bytes(content)
    again = bank(tmp_path)
    assert again.read(3, IMAGES) is None
    whole = again.read(2, IMAGES)
    assert whole is not None
    assert same(whole[0], outputs(2))
    assert again.write(3, outputs(3), 1.0)
    found = again.read(3, IMAGES)
    assert found is not None
    assert same(found[0], outputs(3))


@contextmanager
def claimed_elsewhere(path: Path, *steps: int) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that is computing these batches, or so the bank must think, until it is killed."""
    program = (
        "import fcntl, os, sys, time\n"
        "file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
        "[fcntl.lockf(file, fcntl.LOCK_EX, 1, int(step)) for step in sys.argv[2:]]\n"
        "print('held', flush=True)\n"
        "time.sleep(600)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(path), *map(str, steps)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    try:
        yield other
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_a_claim_holds_until_its_process_dies(tmp_path):
    one = bank(tmp_path)
    with claimed_elsewhere(one.folder / one.name, 1) as other:
        assert not one.claim(1)
        assert one.claim(2)
        other.kill()
        other.wait()
        assert one.claim(1)


def test_beyond_the_limit_nothing_is_kept_and_what_is_there_is_read(tmp_path):
    one = bank(tmp_path)
    assert one.write(0, outputs(0), 0.0)
    small = bank(tmp_path, limit=1)
    assert not small.write(1, outputs(1), 0.0)
    assert small.full
    assert small.read(0, IMAGES) is not None


def test_unused_folders_give_way_and_those_in_use_do_not(tmp_path):
    idle, busy = bank(tmp_path, "idle"), bank(tmp_path, "busy")
    for made in (idle, busy):
        assert made.write(0, outputs(0), 0.0)
    for age, made in enumerate((idle, busy)):
        os.utime(made.folder / "in-use", (age, age))
    idle_folder = idle.folder
    need = idle.slot * STEPS
    limit = sum(map(bytes_in, folders(tmp_path))) + need - 1
    del idle
    new = bank(tmp_path, "new", limit=limit + bytes_in(tmp_path / "teacher" / "bank" / "idle") // 2)
    assert new.write(0, outputs(0), 0.0)
    assert not idle_folder.exists()
    assert busy.read(0, IMAGES) is not None
    assert bank(tmp_path, "newer", limit=1).write(0, outputs(0), 0.0) is False
    assert {path.name for path in folders(tmp_path)} == {"busy", "new", "newer"}
    del busy, new, made
