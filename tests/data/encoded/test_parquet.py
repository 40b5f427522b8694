"""Parquet files: columns, parts, and each fault in one sentence."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from automl_kd.data.encoded.checked import check_encoded
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec
from tests.data.encoded import forms

Usage = namedtuple("Usage", ["total", "used", "free"])


def write(file: Path, features: dict[str, Any] | None = None, **columns: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, file, row_group_size=2)


def images(count: int = 4) -> list[bytes]:
    return [forms.picture() for _ in range(count)]


@pytest.mark.parametrize(
    ("image", "label", "features"),
    [
        ("img", "labels", None),
        ("jpeg", "fine_label", None),
        ("photo", "kind", {"photo": {"_type": "Image"}, "kind": {"names": ["a", "b"], "_type": "ClassLabel"}}),
    ],
)
def test_columns_by_other_names(tmp_path, image, label, features):
    content = images()
    write(
        tmp_path / "train-00000-of-00001.parquet", features, **{image: content, label: [0, 1, 1, 0], "id": [1, 2, 3, 4]}
    )
    found = forms.open_source(f"parquet:{tmp_path}", tmp_path / "root")
    assert found.train.labels.tolist() == [0, 1, 1, 0]
    assert found.train.encoded is not None
    assert [found.train.encoded.read(row) for row in range(4)] == content
    assert found.class_names == (("a", "b") if features else ("0", "1"))


def test_files_are_packed_once(tmp_path):
    name = forms.write_parquet(tmp_path / "set", forms.samples())
    forms.open_source(name, tmp_path / "root")
    (pack,) = (tmp_path / "root" / ".packs").glob("parquet-*/pack.json")
    made = pack.stat().st_mtime_ns
    forms.open_source(name, tmp_path / "root")
    assert pack.stat().st_mtime_ns == made


def test_rows_without_bytes_are_flaws(tmp_path):
    write(tmp_path / "train-00000-of-00002.parquet", image=images(3), label=[0, 1, 0])
    write(tmp_path / "train-00001-of-00002.parquet", image=[*images(2), None], label=[1, 0, 1])
    write(tmp_path / "test.parquet", image=[*images(2), b""], label=[0, 1, 1])
    source = forms.open_source(f"parquet:{tmp_path}", tmp_path / "root")
    named = r"train-00001-of-00002.parquet \(image in row 2\) cannot be read or decoded, and 1 other image has"
    with pytest.raises(DataError, match=named):
        check_encoded(source, DataSpec(), tmp_path)
    left = check_encoded(source, DataSpec(on_error="skip"), tmp_path).source
    assert left.test is not None
    assert (len(left.train), len(left.test)) == (5, 2)
    assert left.note.endswith(f"{tmp_path}/test.parquet (image in row 2)")


def test_a_split_whose_labels_are_hidden_is_passed_over(tmp_path):
    for split, labels in {"train": [0, 1, 0], "validation": [1, 0], "test": [-1, -1]}.items():
        write(tmp_path / f"{split}-00000-of-00001.parquet", image=images(len(labels)), label=labels)
    source = forms.open_source(f"parquet:{tmp_path}", tmp_path / "root")
    assert source.validation is None
    assert source.test is not None
    assert source.test.labels.tolist() == [1, 0]
    assert source.passed_over == {"test images of label -1": 2}
    assert source.note == "the test images are those of 1 Parquet file, as there is no test part"
    assert source.test.named is not None
    assert source.test.named(1).endswith("validation-00000-of-00001.parquet (image in row 1)")


def test_hidden_labels_between_other_parts_do_not_shift_their_rows(tmp_path):
    for split, labels in {"train": [0, 1, 0], "validation": [-1, -1], "test": [1, 0]}.items():
        write(tmp_path / f"{split}-00000-of-00001.parquet", image=images(len(labels)), label=labels)
    source = forms.open_source(f"parquet:{tmp_path}", tmp_path / "root")
    assert source.test is not None
    assert source.test.named is not None
    assert source.test.named(0).endswith("test-00000-of-00001.parquet (image in row 0)")
    assert forms.open_source(f"parquet:{tmp_path}", tmp_path / "root").test is not None  # from the kept pack


def hide_labels_of(folder: Path) -> None:
    for file in folder.glob("train-*"):
        write(file, image=images(2), label=[-1, -1])


def drop(file: str) -> Any:
    return lambda top: (top / "data" / file).unlink()


FAULTS = {
    "no files": (lambda top: shutil.rmtree(top / "data"), "has no file such as train-00000-of-00002.parquet"),
    "one missing": (drop("train-00001-of-00002.parquet"), "but no train-00001-of-00002.parquet; fetch all files"),
    "none to train on": (
        lambda top: [file.unlink() for file in (top / "data").glob("train-*")],
        "has (validation|test) images and none to train on",
    ),
    "other columns": (
        lambda top: write(top / "data/train-00000-of-00002.parquet", text=["a"], score=[0.5]),
        r"has the columns text \(string\), score \(double\); wanted are image",
    ),
    "label of text": (
        lambda top: write(top / "data/train-00000-of-00002.parquet", image=images(1), label=["cat"]),
        r"columns image \(binary\), label \(string\); wanted are",
    ),
    "image of text": (
        lambda top: write(top / "data/train-00000-of-00002.parquet", image=["a.png"], label=[0]),
        "column image in .* is string; encoded images are wanted",
    ),
    "another file": (
        lambda top: write(top / "data/test-00001-of-00002.parquet", img=images(1), label=[0]),
        "has the columns img, label, and other files of the set have image and label",
    ),
    "null labels": (
        lambda top: write(top / "data/test-00001-of-00002.parquet", image=images(2), label=[0, None]),
        "column label in .* has 1 rows without a label",
    ),
    "negative": (
        lambda top: write(top / "data/test-00001-of-00002.parquet", image=images(2), label=[0, -1]),
        r"has the label -1; number the classes from 0",
    ),
    "all hidden": (
        lambda top: hide_labels_of(top / "data"),
        r"has the label -1 for all training images; give their labels",
    ),
    "beyond the names": (
        lambda top: write(top / "data/test-00001-of-00002.parquet", image=images(2), label=[0, 2]),
        "has the label 2, and its metadata names 2 classes",
    ),
    "damaged": (
        lambda top: (top / "data/test-00001-of-00002.parquet").write_bytes(b"PAR1"),
        "test-00001-of-00002.parquet cannot be read as a Parquet file",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_one_sentence(tmp_path, fault):
    change, sentence = FAULTS[fault]
    name = forms.write_parquet(tmp_path / "set", forms.samples())
    change(tmp_path / "set")
    with pytest.raises(DataError, match=sentence) as caught:
        forms.open_source(name, tmp_path / "root")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "root").rglob("pack.json"))


def test_a_disk_without_room_is_one_sentence(tmp_path, monkeypatch):
    name = forms.write_parquet(tmp_path / "set", forms.samples())
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(1, 1, 10))
    with pytest.raises(DataError, match=r"packing 20 images needs .* MB in .*, whose disk has 0 MB free; make room"):
        forms.open_source(name, tmp_path / "root")
