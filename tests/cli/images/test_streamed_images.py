"""Streamed images through the whole command: what is wrong with them is one sentence before anything is trained."""

from __future__ import annotations

import re
import shutil
import struct
import zlib
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

import automl_kd.experiment
from automl_kd.errors import ConfigError
from tests.cli.conftest import Ran
from tests.cli.images.test_own_images import ALL_LABELS, TINY
from tests.data.encoded import forms

STREAMED = (*ALL_LABELS, *TINY, "--set", "data.resolution=8", "--set", "data.loading='stream'")

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def sentence_of(run: Callable[..., Ran], tmp_path: Path) -> Callable[..., str]:
    """Searches what must be refused: code 2, one sentence, and on the disk at most what is kept of the images."""

    def check(name: str, *settings: str) -> str:
        before = {one.name for one in tmp_path.iterdir()}
        code, out, err = run("search", "--set", f"data.name='{name}'", *STREAMED, *settings)
        assert (code, out) == (2, ""), err
        *progress, last = err.splitlines()
        assert last.startswith("automl-kd: ")
        assert not any("automl-kd" in line or "Traceback" in line for line in progress)
        assert {one.name for one in tmp_path.iterdir()} - before <= {"data"}
        return last.removeprefix("automl-kd: ")

    return check


def cut(file: Path, share: float = 0.5) -> None:
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])


WRITERS = {"folder": forms.write_folder, "shards": forms.write_shards, "parquet": forms.write_parquet}


def write(form: str, top: Path) -> str:
    given = forms.samples(count=2)
    if form == "pack":
        return forms.write_packed(top / "set", forms.write_folder(top / "files", given))
    writer: Callable[[Path, forms.Samples], str] = WRITERS[form]  # type: ignore[assignment]  # with more arguments
    return writer(top / "set", given)


def huge(file: Path) -> None:
    """The header of a PNG of 60,000 by 60,000 pixels."""
    content = bytearray(file.read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    file.write_bytes(content)


FAULTS = {
    "cut off": ("folder", "train/ant/0-01.png", cut, "0-01.png ends before its last byte; replace or remove it, or"),
    "empty": ("folder", "val/ant/0-01.png", lambda file: cut(file, 0), '0-01.png is empty; .*data.on_error = "skip"'),
    "no image": ("folder", "test/bee/1-01.png", lambda file: file.write_text("text"), "1-01.png is no image that Pi"),
    "huge": ("folder", "train/bee/1-01.png", huge, "1-01.png has more pixels than Pillow opens; replace or remove it"),
    "shard": ("shards", "set-train-000001.tar", cut, "set-train-000001.tar ends before its last member does"),
    "Parquet": ("parquet", "data/train-00000-of-00002.parquet", cut, "train-00000-of-00002.parquet .* Parquet"),
    "pack": ("pack", "images.bin", cut, "images.bin"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_spoilt_sets_are_refused_before_training(sentence_of, tmp_path, fault):
    form, file, spoil, sentence = FAULTS[fault]
    name = write(form, tmp_path)
    spoil(tmp_path / "set" / file)
    said = sentence_of(name)
    assert re.search(sentence, said), said


def test_a_set_that_does_not_fit_on_the_disk_is_refused(sentence_of, tmp_path, monkeypatch):
    name = write("parquet", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(1, 1, 10))
    assert "disk has 0 MB free; make room" in sentence_of(name)


def test_a_pack_is_not_mixed_with_other_files(refused, tmp_path):
    write("pack", tmp_path)
    other = forms.write_folder(tmp_path / "other", forms.samples())
    said = refused("pack", other, str(tmp_path / "set"), "--progress", "none")
    assert "set is a pack of other or changed files, or made with other options; give the path of a new folder" in said


def test_images_in_memory_are_not_streamed(sentence_of):
    said = sentence_of("digits")
    assert 'data.loading = "stream" is for images in files, and these are in memory; set it to "resident"' in said


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("loader.threads=-1", "threads must be 0 (all cores but one) or more, got -1"),
        ("loader.ring_mb=1", "ring_mb must be 16 or more, got 1"),
        ("loader.cache_gb=-1", "cache_gb must be 0 (none) or more, got -1"),
        ("data.on_error='ignore'", "it should be 'fail' or 'skip'"),
        ("data.loading='streamed'", "it should be 'auto', 'resident' or 'stream'"),
    ],
)
def test_settings_that_are_none_are_refused(sentence_of, tmp_path, settings, sentence):
    assert sentence in sentence_of(write("folder", tmp_path), "--set", settings)


def test_skipped_images_are_counted_and_named(run, tmp_path, monkeypatch):
    def session(address: str = "", resources: object = None) -> None:
        raise ConfigError("as far as Ray")

    monkeypatch.setattr(automl_kd.experiment, "session", session)
    name = write("folder", tmp_path)
    cut(tmp_path / "set/train/ant/0-01.png")
    code, _, err = run("search", "--set", f"data.name='{name}'", *STREAMED, "--set", "data.on_error='skip'")
    assert (code, err.splitlines()[-1]) == (2, "automl-kd: as far as Ray")
    (told,) = [one for one in err.splitlines() if one.startswith("data ")]
    assert "passed over: 1 images that cannot be read; left out as they cannot be read: " in told
    assert "0-01.png" in told
