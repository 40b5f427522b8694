"""Packs: a kill costs little, what is no unfinished pack is left alone, damage is seen, images can be reduced."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from automl_kd.data.encoded import packing
from automl_kd.data.encoded.checked import check_encoded, encoded_parts
from automl_kd.data.encoded.pack import read_pack
from automl_kd.data.encoded.repack import pack_source
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec
from tests import ROOT
from tests.data.encoded import forms


@pytest.fixture
def folder(tmp_path) -> str:
    return forms.write_folder(tmp_path / "set", forms.samples(count=3))


def contents(top: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in top.iterdir()}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [1, 7, 31, 59])
def test_a_pack_goes_on_where_it_was_interrupted(tmp_path, folder, monkeypatch, after):
    source = forms.open_source(folder, tmp_path)
    pack_source(source, folder, tmp_path / "whole")
    monkeypatch.setattr(packing, "FLUSH_IMAGES", 4)
    done: list[int] = []
    inner = packing.checked_record

    def record(image, on_error):
        done.append(1)
        if len(done) == after:
            raise Killed
        return inner(image, on_error)

    monkeypatch.setattr(packing, "checked_record", record)
    with pytest.raises(Killed):
        pack_source(source, folder, tmp_path / "pack")
    with pytest.raises(DataError, match="is an unfinished pack; run the same 'automl-kd pack' again"):
        read_pack(tmp_path / "pack")
    with (tmp_path / "pack" / "images.bin").open("ab") as file:
        file.write(b"half of an image")  # as a kill between bytes and records leaves it
    done.clear()
    monkeypatch.setattr(packing, "checked_record", inner)
    pack_source(source, folder, tmp_path / "pack")
    assert contents(tmp_path / "pack") == contents(tmp_path / "whole")


def test_a_killed_process_leaves_what_it_has_written(tmp_path, folder):
    root, pack = str(tmp_path), str(tmp_path / "pack")
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from automl_kd.data.encoded import packing, repack\nfrom tests.data.encoded import forms\n"
        "packing.FLUSH_IMAGES = 4\ninner = packing.flush\n"
        "def flush(*given):\n    inner(*given)\n    print('flushed', flush=True)\n    time.sleep(0.3)\n"
        "packing.flush = flush\n"
        f"source = forms.open_source({folder!r}, Path({root!r}))\n"
        f"repack.pack_source(source, {folder!r}, Path({pack!r}))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline() == "flushed\n"
        os.kill(process.pid, signal.SIGKILL)
    source = forms.open_source(folder, tmp_path)
    begun: list[int] = []
    pack_source(source, folder, tmp_path / "pack", notify=lambda done, _of: begun.append(done))
    assert begun[0] >= 12
    pack_source(source, folder, tmp_path / "whole")
    assert contents(tmp_path / "pack") == contents(tmp_path / "whole")


@pytest.mark.parametrize("flushed", [False, True])
def test_a_pack_that_met_a_flaw_is_made_by_leaving_it_out(tmp_path, folder, monkeypatch, flushed):
    monkeypatch.setattr(packing, "FLUSH_IMAGES", 2 if flushed else 1000)
    last = sorted(Path(folder.removeprefix("folder:")).rglob("*.png"))[-1]
    last.write_bytes(b"")
    source = forms.open_source(folder, tmp_path)
    with pytest.raises(DataError, match="is empty; replace or remove it, or pack with --skip-errors"):
        pack_source(source, folder, tmp_path / "pack")
    assert (tmp_path / "pack").exists() == flushed
    pack_source(source, folder, tmp_path / "pack", on_error="skip")
    assert len(forms.open_source(f"pack:{tmp_path / 'pack'}", tmp_path).train) in {29, 30}


def test_slow_images_are_put_on_the_disk_by_the_clock(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(packing, "FLUSH_SECONDS", 0.0)
    source, done = forms.open_source(folder, tmp_path), list[int]()
    pack_source(source, folder, tmp_path / "pack", notify=lambda count, _of: done.append(count))
    assert done[:4] == [0, 1, 2, 3]


def test_a_finished_pack_stays(tmp_path, folder):
    source = forms.open_source(folder, tmp_path)
    pack_source(source, folder, tmp_path / "pack")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "pack").iterdir()}
    assert sorted(file.name for file in before) == ["images.bin", "images.index", "pack.json", "scan.npy"]
    pack_source(source, folder, tmp_path / "pack")
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "pack").iterdir()} == before


def test_a_pack_may_be_moved(tmp_path, folder):
    pack = forms.write_packed(tmp_path / "pack", folder)
    shutil.move(tmp_path / "pack", tmp_path / "elsewhere")
    found = forms.open_source(f"pack:{tmp_path / 'elsewhere'}", tmp_path)
    expected = forms.open_source(folder, tmp_path)
    assert pack != f"pack:{tmp_path / 'elsewhere'}"
    assert check_encoded(found, DataSpec(), tmp_path).identity == check_encoded(expected, DataSpec(), tmp_path).identity
    described = json.loads((tmp_path / "elsewhere" / "pack.json").read_text())
    assert described["identity"] == check_encoded(expected, DataSpec(), tmp_path).identity
    assert described["counts"] == {"training": 30, "validation": 12, "test": 18}
    assert described["source"] == folder


def test_a_folder_with_anything_else_is_left_alone(tmp_path, folder):
    source = forms.open_source(folder, tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("text")
    with pytest.raises(DataError, match="mine holds something else than a pack; give the path of a new folder"):
        pack_source(source, folder, tmp_path / "mine")
    with pytest.raises(DataError, match=r"thesis.txt is a file; give the path of a new folder"):
        pack_source(source, folder, tmp_path / "mine" / "thesis.txt")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "text"


@pytest.mark.parametrize("finished", [True, False])
def test_a_pack_of_changed_files_is_refused(tmp_path, folder, monkeypatch, finished):
    source = forms.open_source(folder, tmp_path)
    if not finished:

        def stop(*_given):
            raise Killed

        monkeypatch.setattr(packing, "finish_pack", stop)
    with pytest.raises(Killed) if not finished else pytest.MonkeyPatch.context():
        pack_source(source, folder, tmp_path / "pack")
    (tmp_path / "set" / "train" / "ant" / "0-00.png").write_bytes(forms.picture())
    with pytest.raises(DataError, match="pack is a pack of other or changed files, or made with other options"):
        pack_source(forms.open_source(folder, tmp_path), folder, tmp_path / "pack")


def test_two_processes_do_not_write_one_pack(tmp_path, folder, monkeypatch):
    source = forms.open_source(folder, tmp_path)
    inner = packing.append_images

    def append_images(out, *rest):
        monkeypatch.setattr(packing, "append_images", inner)
        with pytest.raises(DataError, match="another process is packing into"):
            pack_source(source, folder, out)
        return inner(out, *rest)

    monkeypatch.setattr(packing, "append_images", append_images)
    pack_source(source, folder, tmp_path / "pack")
    assert len(read_pack(tmp_path / "pack").images) == 60


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def describe(top: Path, **changes: object) -> None:
    file = top / "pack.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


DAMAGE = {
    "bytes": (lambda top: shorten(top / "images.bin"), r"images.bin has [\d,]+ where the pack has [\d,]+ bytes"),
    "no bytes": (lambda top: (top / "images.bin").unlink(), "images.bin is not there where the pack has"),
    "index": (lambda top: shorten(top / "images.index"), "images.index is damaged, or of another pack"),
    "other index": (lambda top: describe(top, identity="0" * 16), "images.index is damaged, or of another pack"),
    "scan": (lambda top: shorten(top / "scan.npy"), "is a damaged pack; copy or make it again"),
    "counts": (lambda top: describe(top, counts={"training": 3}), "is a damaged pack; copy or make it again"),
    "no json": (
        lambda top: (top / "pack.json").write_text("{"),
        "pack.json is damaged; copy the pack again",
    ),
    "version": (lambda top: describe(top, version=9), "is a pack of version 9 and this program reads 1"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_sentence(tmp_path, folder, damage):
    change, sentence = DAMAGE[damage]
    forms.write_packed(tmp_path / "pack", folder)
    change(tmp_path / "pack")
    with pytest.raises(DataError, match=sentence) as caught:
        forms.open_source(f"pack:{tmp_path / 'pack'}", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_pack_of_another_set_has_another_index(tmp_path, folder):
    forms.write_packed(tmp_path / "one", folder)
    other = forms.write_folder(tmp_path / "other set", forms.samples(count=3))
    forms.write_packed(tmp_path / "two", other)
    shutil.copy(tmp_path / "one" / "images.index", tmp_path / "two" / "images.index")
    with pytest.raises(DataError, match=r"images.index is damaged, or of another pack"):
        forms.open_source(f"pack:{tmp_path / 'two'}", tmp_path)


def test_flawed_images_end_the_packing_or_are_left_out(tmp_path, folder):
    (tmp_path / "set" / "test" / "ant" / "0-00.png").write_bytes(b"text")
    source = forms.open_source(folder, tmp_path)
    with pytest.raises(
        DataError, match=r"0-00.png is no image that Pillow knows; replace or remove it, or pack with --skip"
    ):
        pack_source(source, folder, tmp_path / "pack")
    assert not (tmp_path / "pack").exists()
    pack_source(source, folder, tmp_path / "pack", on_error="skip")
    found = read_pack(tmp_path / "pack")
    assert found.counts == {"training": 30, "validation": 12, "test": 17}
    assert found.passed_over == {"images that cannot be read": 1}


def test_images_are_reduced_and_never_enlarged(tmp_path):
    given = forms.samples()
    given["train"][0] = ("large", 0, forms.picture(40, 20))
    given["train"][1] = ("wide", 0, forms.picture(30, 61))
    folder = forms.write_folder(tmp_path / "set", given)
    source = forms.open_source(folder, tmp_path)
    pack_source(source, folder, tmp_path / "pack", shorter_side=10, quality=80)
    images = encoded_parts(forms.open_source(f"pack:{tmp_path / 'pack'}", tmp_path))["training"].encoded
    assert images is not None
    opened = [Image.open(io.BytesIO(images.read(row))) for row in range(len(images))]
    by_size = {one.size: one for one in opened}
    assert by_size.keys() == {(10, 20), (20, 10), (6, 6)}
    assert [one.format for one in opened].count("JPEG") == 2
    reduced = Image.open(io.BytesIO(given["train"][0][2])).resize((10, 20), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(by_size[10, 20]).astype(int) - np.asarray(reduced)).mean() < 40  # noise, as JPEG
    described = json.loads((tmp_path / "pack" / "pack.json").read_text())
    assert (described["shorter_side"], described["quality"]) == (10, 80)
    with pytest.raises(DataError, match="made with other options"):
        pack_source(source, folder, tmp_path / "pack", shorter_side=10, quality=90)


def test_a_full_disk_is_one_sentence_and_the_pack_goes_on(tmp_path, folder, monkeypatch):
    source = forms.open_source(folder, tmp_path)

    def full(*_given):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(packing, "flush", full)
        with pytest.raises(DataError, match=r"the disk of .*pack is full; make room, and the same command continues"):
            pack_source(source, folder, tmp_path / "pack")
    pack_source(source, folder, tmp_path / "pack")
    assert len(read_pack(tmp_path / "pack").images) == 60
