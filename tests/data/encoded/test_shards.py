"""Tar shards: how they are found and read, and each fault in one sentence."""

from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from automl_kd.data import load_data
from automl_kd.data.encoded import shards
from automl_kd.data.encoded.tar_members import tar_members
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec
from tests.data.encoded import forms

ODD = os.fsdecode(b"caf\xe9 au lait")
LONG = "a/" * 60 + "x" * 120 + ".png"


def members(path: Path) -> list[tuple[str, int, int]]:
    with path.open("rb") as file:
        return [(one.name, one.offset, one.length) for one in tar_members(path, file)]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_members_are_those_of_the_standard_library(tmp_path, form):
    names = [
        "a.png",
        "folder/b c.png",
        f"{ODD}.png",
        *([LONG] if form != tarfile.USTAR_FORMAT else ["p" * 90 + "/" + "q" * 90]),
    ]
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for number, name in enumerate(names):
            forms.add(tar, name, b"x" * (300 * number))
    with tarfile.open(tmp_path / "a.tar") as tar:
        expected = [(one.name, one.offset_data, one.size) for one in tar if one.isfile()]
    assert members(tmp_path / "a.tar") == expected
    assert [name for name, *_ in expected] == names


def test_a_compressed_shard_says_so_whatever_it_is_called(tmp_path):
    with gzip.open(tmp_path / "a.tar", "wb") as file:
        file.write(bytes(1024))
    with pytest.raises(DataError, match=r"a\.tar is compressed, so its images cannot be read one by one; unpack"):
        members(tmp_path / "a.tar")


def test_a_size_in_binary_is_read(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        forms.add(tar, "a.png", b"12345")
    content = bytearray((tmp_path / "a.tar").read_bytes())
    content[124:136] = b"\x80" + (5).to_bytes(11, "big")
    content[148:156] = f"{sum(content[:148]) + sum(content[156:512]) + 256:06o}\0 ".encode()
    (tmp_path / "a.tar").write_bytes(content)
    assert members(tmp_path / "a.tar") == [("a.png", 512, 5)]


def write(top: Path, *names: str) -> None:
    """A shard of two images of each class at each name."""
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(top / name, "w") as tar:
            for number in range(4):
                forms.add(tar, f"{number}.png", forms.picture())
                forms.add(tar, f"{number}.cls", f"{number % 2}\n".encode())


@pytest.mark.parametrize(
    ("names", "path", "sizes"),
    [
        (("Train/a.tar", "Train/b.tar", "val/a.tar", "testing/a.tar"), "", (8, 4, 4)),
        (("x-train-000000.tar", "x-train-000001.tar", "x-val-000000.tar", "x_test.tar"), "", (8, 4, 4)),
        (("a.tar", "b.tar"), "", (8, None, None)),
        (("x-000009.tar", "x-000010.tar", "x-000011.tar"), "x-{000009..000010}.tar", (8, None, None)),
        (("a.tar", "b.tar"), "a.tar", (4, None, None)),
    ],
)
def test_layouts(tmp_path, names, path, sizes):
    write(tmp_path / "set", *names)
    found = forms.open_source(f"shards:{tmp_path / 'set' / path}", tmp_path / "root")
    assert tuple(part and len(part) for part in (found.train, found.validation, found.test)) == sizes
    assert found.class_names == ("0", "1")


def test_shards_are_scanned_once_and_again_when_one_has_changed(tmp_path, monkeypatch):
    write(tmp_path / "set", "a.tar", "b.tar")
    scanned: list[Path] = []
    inner = shards.scan_shard

    def scan_shard(shard: Path):
        scanned.append(shard)
        return inner(shard)

    monkeypatch.setattr(shards, "scan_shard", scan_shard)
    for _ in range(2):
        source = forms.open_source(f"shards:{tmp_path / 'set'}", tmp_path / "root")
    assert len(scanned) == 2
    write(tmp_path / "set", "b.tar", "c.tar")
    assert len(forms.open_source(f"shards:{tmp_path / 'set'}", tmp_path / "root").train) == 12
    assert len(source.train) == 8
    (kept,) = (tmp_path / "root" / ".encoded").glob("*.index")
    kept.write_bytes(kept.read_bytes()[:-3])
    assert len(forms.open_source(f"shards:{tmp_path / 'set'}", tmp_path / "root").train) == 12


def sample(tar: tarfile.TarFile, name: str, image: bytes | None, label: bytes | None, ending: str = "cls") -> None:
    if image is not None:
        forms.add(tar, f"{name}.png", image)
    if label is not None:
        forms.add(tar, f"{name}.{ending}", label)


def add_all(tar: tarfile.TarFile, *names: str) -> None:
    for name in names:
        forms.add(tar, name, b"0")


FAULTS: dict[str, tuple[Callable[[tarfile.TarFile], object], str]] = {
    "no label": (lambda tar: sample(tar, "x", b"image", None), r"a.tar: the sample 'x' has no label \(a member .cls"),
    "no image": (lambda tar: sample(tar, "x", None, b"0"), r"a.tar: the sample 'x' has no images, and one image"),
    "two images": (
        lambda tar: add_all(tar, "x.jpg", "x.png", "x.cls"),
        "the sample 'x' has 2 images",
    ),
    "text": (lambda tar: sample(tar, "x", b"image", b"cat"), "x.cls holds b'cat', and a label is wanted"),
    "negative": (lambda tar: sample(tar, "x", b"image", b"-1"), "x.cls holds b'-1', and a label is wanted"),
    "json": (lambda tar: sample(tar, "x", b"image", b"{", "json"), "x.json holds b'{', and a label is wanted"),
    "json without": (lambda tar: sample(tar, "x", b"image", b"{}", "json"), "the sample 'x' has no label"),
    "json of text": (lambda tar: sample(tar, "x", b"image", b'{"label": "cat"}', "json"), "a label is wanted"),
    "huge label": (lambda tar: sample(tar, "x", b"image", b"900"), "has the label 900 but only 1 images"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_samples_are_one_sentence(tmp_path, fault):
    change, sentence = FAULTS[fault]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        change(tar)
    with pytest.raises(DataError, match=sentence) as caught:
        forms.open_source(f"shards:{tmp_path}", tmp_path)
    assert "\n" not in str(caught.value)


def test_other_members_are_counted_and_what_systems_add_is_not(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        forms.add(tar, "notes.txt", b"text")
        for label in (b"0", b"1"):
            sample(tar, f"x{label.decode()}", b"image", label)
        forms.add(tar, "._x1.png", b"left by a system")
    found = forms.open_source(f"shards:{tmp_path}", tmp_path)
    assert (len(found.train), found.passed_over) == (2, {".txt in shards": 1})


def test_labels_beyond_the_named_classes_are_refused(tmp_path):
    write(tmp_path, "a.tar")
    (tmp_path / "classes.txt").write_text("only one\n")
    with pytest.raises(DataError, match=r"has the label 1, and .*classes.txt names 1 classes, 0 to 0; correct"):
        forms.open_source(f"shards:{tmp_path}", tmp_path)


def spoil(path: Path, content: bytes) -> None:
    path.write_bytes(content)


DAMAGE = {
    "half": (lambda path: spoil(path, path.read_bytes()[:700]), "ends before its last member does"),
    "no end": (
        lambda path: spoil(path, path.read_bytes()[: 8 * 1024]),
        "ends before its last member does, or before the",
    ),
    "bits": (
        lambda path: spoil(path, path.read_bytes()[:1030] + b"\xff" + path.read_bytes()[1031:]),
        "is damaged at byte 1,024",
    ),
    "text": (lambda path: spoil(path, b"text" * 999), "is no tar file"),
    "gzip": (lambda path: spoil(path, gzip.compress(path.read_bytes())), "is compressed, .* unpack it with gunzip"),
    "named gz": (lambda path: path.rename(path.with_suffix(".tar.gz")), "is compressed, .* unpack all such shards"),
    "gone": (lambda path: path.unlink(), "has no .tar file, and no train/ with any"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_sentence(tmp_path, damage):
    change, sentence = DAMAGE[damage]
    write(tmp_path, "a.tar")
    change(tmp_path / "a.tar")
    with pytest.raises(DataError, match=sentence) as caught:
        forms.open_source(f"shards:{tmp_path}", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "path", "sentence"),
    [
        (("x-0.tar",), "x-{0..2}.tar", "no shard .*x-1.tar, one of 2 of 3 that are not there"),
        (("x-0.tar",), "x-{2..0}.tar", "counts down; write the smaller number first"),
        (("x-train.tar", "other.tar"), "", "other.tar is named after no split"),
        (("val/a.tar",), "", "has validation images and none to train on"),
        ((), "missing", "no folder .*missing; give the path of a folder of .tar files"),
    ],
)
def test_shards_that_are_not_there(tmp_path, names, path, sentence):
    write(tmp_path / "set", *names)
    with pytest.raises(DataError, match=sentence):
        forms.open_source(f"shards:{tmp_path / 'set' / path}", tmp_path)


def test_a_shard_that_changes_later_names_the_image(tmp_path):
    write(tmp_path / "set", "a.tar")
    source = forms.open_source(f"shards:{tmp_path / 'set'}", tmp_path)
    spoil(tmp_path / "set" / "a.tar", b"")
    assert source.train.encoded is not None
    with pytest.raises(DataError, match=r"a.tar ends before the image at byte 512; copy the file again"):
        source.train.encoded.read(0)


def test_a_whole_set_of_shards_is_divided(tmp_path):
    write(tmp_path / "set", *(f"x-{number}.tar" for number in range(6)))
    found = load_data(DataSpec(name=f"shards:{tmp_path / 'set'}"), tmp_path)
    assert (len(found.train), len(found.validation), len(found.test)) == (17, 2, 5)
