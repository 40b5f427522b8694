"""The index of a folder is used while no folder has changed, and made anew after any change or damage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from automl_kd.data.encoded import folder_index
from automl_kd.data.encoded.encoded_set import EncodedSet
from automl_kd.data.encoded.folder_index import index_folder, index_path
from tests.data.pictures import fill, noise

LONG_AGO = 10**9
ODD = os.fsdecode(b"a name \xe9")


@pytest.fixture
def top(tmp_path, monkeypatch) -> Path:
    """A set that counts as large and was written long ago."""
    monkeypatch.setattr(folder_index, "INDEXED_FROM", 4)
    monkeypatch.setattr(folder_index, "SETTLED_NS", -(10**15))  # whatever was just written counts as settled
    folder: Path = tmp_path / "set"
    fill(folder / "train", ("ant", "bee"), 4)
    fill(folder / "test", ("ant", "bee"), 2)
    noise().save(folder / "train" / "ant" / f"{ODD}.png")
    (folder / "train" / "bee" / "deeper").mkdir()
    noise().save(folder / "train" / "bee" / "deeper" / "x.PNG")
    (folder / "train" / "bee" / "readme.txt").write_text("no image")
    return folder


@pytest.fixture
def listed(monkeypatch) -> list[Path]:
    """The folders that were indexed anew."""
    done: list[Path] = []
    inner = folder_index.list_classes

    def list_classes(path: Path, *others: Any):
        done.append(path)
        return inner(path, *others)

    monkeypatch.setattr(folder_index, "list_classes", list_classes)
    return done


def told(found: EncodedSet) -> tuple[Any, ...]:
    paths = [str(found.images.path(row)) for row in range(len(found.images))]
    return paths, found.images.labels.tolist(), found.counts, found.class_names, found.made, found.passed_over


def test_the_second_start_lists_nothing(tmp_path, top, listed, monkeypatch):
    first = told(index_folder(top, tmp_path / "root"))
    monkeypatch.setattr(os, "scandir", None)
    assert told(index_folder(top, tmp_path / "root")) == first
    assert listed == [top]
    paths = first[0]
    assert str(top / "train" / "ant" / f"{ODD}.png") in paths
    assert paths[:10] == sorted(paths[:10])


def rewrite(file: Path) -> None:
    file.write_bytes(b"other bytes")


CHANGES = {
    "added": lambda top: noise().save(top / "test" / "bee" / "new.png"),
    "removed": lambda top: (top / "train" / "ant" / "0.png").unlink(),
    "renamed": lambda top: (top / "train" / "ant" / "0.png").rename(top / "train" / "ant" / "00.png"),
    "moved": lambda top: (top / "train" / "ant" / "0.png").rename(top / "train" / "bee" / "00.png"),
    "deeper": lambda top: (top / "train" / "bee" / "deeper" / "x.PNG").unlink(),
    "class": lambda top: fill(top / "train", ("cow",), 1),
    "part": lambda top: fill(top / "val", ("ant", "bee"), 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_listed_again(tmp_path, top, listed, change):
    first = told(index_folder(top, tmp_path / "root"))
    CHANGES[change](top)
    found = told(index_folder(top, tmp_path / "root"))
    assert len(listed) == 2
    assert found != first
    index_folder(top, tmp_path / "root")
    assert len(listed) == 2


def test_a_file_that_is_written_over_is_the_same_name(tmp_path, top, listed):
    first = told(index_folder(top, tmp_path / "root"))
    rewrite(top / "train" / "ant" / "0.png")
    assert told(index_folder(top, tmp_path / "root")) == first
    assert len(listed) == 1


def test_what_was_just_written_is_not_relied_on(tmp_path, top, listed, monkeypatch):
    monkeypatch.setattr(folder_index, "SETTLED_NS", 10**15)
    for _ in range(2):
        index_folder(top, tmp_path / "root")
    assert len(listed) == 2
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_damaged_index_is_made_anew(tmp_path, top, listed, place):
    first = told(index_folder(top, tmp_path / "root"))
    kept = index_path(top, tmp_path / "root", "folder")
    content = bytearray(kept.read_bytes())
    content[int(place * len(content))] ^= 1
    for damaged in (bytes(content), kept.read_bytes()[:-9], b"", b"text" * 99):
        kept.write_bytes(damaged)
        assert told(index_folder(top, tmp_path / "root")) == first
    assert len(listed) == 5
