"""Forms of tables, and files of splits: which rows are read, and from which files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from automl_kd.data import account_of, load_data
from automl_kd.data.text.forms import marks_enclose_fields, read_tabs
from automl_kd.data.text.table import read_tables
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec
from tests.data.text.words import texts_of, write_set, write_tokenizer


def write_lines(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def test_marks_that_close_nowhere_leave_each_line_a_row(tmp_path: Path) -> None:
    frame = texts_of(300)
    frame.loc[::10, "text"] = '"' + frame.loc[::10, "text"]
    table = write_lines(
        tmp_path / "glue.tsv", "text\tlabel", *(f"{row.text}\t{row.label}" for row in frame.itertuples())
    )
    write_tokenizer(tmp_path / "tokenizer.json")
    rows = read_tables(table, skip_empty=False).splits["training"]
    assert (rows.first, rows.labels) == (frame.text.tolist(), frame.label.tolist())
    found = load_data(DataSpec(name=f"text:{table}", tokenizer=str(tmp_path)), tmp_path)
    assert "quotation marks in glue.tsv are read as part of its texts" in account_of(found, tmp_path)["line"]


def test_quoted_fields_may_hold_tabs_line_breaks_and_marks(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ['a\nb "c"', "d\te", '"f"', "g\r\n\r\nh"], "label": ["ask", "buy", "ask", "buy"]})
    frame.to_csv(tmp_path / "quoted.tsv", sep="\t", index=False)
    read, note = read_tabs(tmp_path / "quoted.tsv")
    pd.testing.assert_frame_equal(read, frame)
    assert note == ""


@pytest.mark.parametrize(
    ("rows", "enclose"),
    [
        (["a\t0", 'say "b"\t1'], True),  # opens no field
        (['"a b"\t0', 'c\t"1"'], True),
        (['"a" b\t0', "c\t1"], False),
        (['"a\t0', "b\t1"], False),  # closed nowhere
        (['"a\t0', 'b"\t1'], False),  # closed at the end of a field, and yet each line is a row
        (['"a', 'b"\t1'], True),
    ],
)
def test_when_marks_enclose_fields(rows: list[str], enclose: bool) -> None:
    for end in ("\n", "\r\n"):
        assert marks_enclose_fields(end.join(["text\tlabel", *rows])) is enclose


@pytest.mark.parametrize("lines", [True, False])
def test_json_is_read_by_lines_or_as_one_list(tmp_path: Path, lines: bool) -> None:
    frame = texts_of(20)
    frame.to_json(tmp_path / "texts.json", orient="records", lines=lines)
    rows = read_tables(tmp_path / "texts.json", skip_empty=False).splits["training"]
    assert (rows.first, rows.labels) == (frame.text.tolist(), frame.label.tolist())


def write_splits(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        frame = texts_of(20 + seed, seed)
        if name.endswith(".parquet"):
            frame.to_parquet(folder / name)
        else:
            frame.to_csv(folder / name, index=False)


@pytest.mark.parametrize("name", ["dev", "Eval", "evaluation", "val"])
def test_splits_of_texts_have_their_usual_names(tmp_path: Path, name: str) -> None:
    write_splits(tmp_path, "train.csv", f"{name}.csv", "test.csv")
    found = read_tables(tmp_path, skip_empty=False)
    assert {kind: len(rows) for kind, rows in found.splits.items()} == {
        "training": 20,
        "validation": 21,
        "test": 22,
    }
    texts_of(30).assign(split=["train", f" {name}", "test"] * 10).to_csv(tmp_path / "column.csv", index=False)
    assert set(read_tables(tmp_path / "column.csv", skip_empty=False).splits) == {"training", "validation", "test"}


@pytest.mark.parametrize("inner", ["", "data"])
def test_numbered_files_of_an_export_are_their_splits(tmp_path: Path, inner: str) -> None:
    names = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "validation-00000-of-00001.parquet"]
    write_splits(tmp_path / inner, *names)
    found = read_tables(tmp_path, skip_empty=False)
    assert {kind: len(rows) for kind, rows in found.splits.items()} == {"training": 41, "validation": 22}
    assert found.splits["training"].first == [*texts_of(20, 0).text, *texts_of(21, 1).text]
    (tmp_path / inner / names[0]).unlink()
    with pytest.raises(DataError, match=r"but no train-00000-of-00002.parquet; fetch all files of the set"):
        read_tables(tmp_path, skip_empty=False)


@pytest.mark.parametrize("other", ["training.csv", "train.json", "train-00000-of-00001.parquet"])
def test_two_files_of_a_split_are_refused(tmp_path: Path, other: str) -> None:
    write_splits(tmp_path, "train.csv", other)
    with pytest.raises(DataError, match=r"has .* and .*, two files of training texts; keep one of them"):
        read_tables(tmp_path, skip_empty=False)


def test_tables_beside_the_splits_are_named(tmp_path: Path) -> None:
    write_set(tmp_path)  # with tokenizer.json, which is no table
    write_splits(tmp_path, "train.csv", "test.csv", "extra.csv")
    found = load_data(DataSpec(name=f"text:{tmp_path}", tokenizer=str(tmp_path)), tmp_path)
    line = account_of(found, tmp_path)["line"]
    assert line.endswith("not read, as their names say no split: extra.csv, texts.csv")
