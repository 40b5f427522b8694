"""Columns, labels and names of tables of texts."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from automl_kd.data import load_data
from automl_kd.data.text import source
from automl_kd.data.text.labels import as_ordered, labels_of_tables
from automl_kd.data.text.table import TextTable, read_tables
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec
from automl_kd.tasks import CLASSIFICATION
from tests.data.text.test_forms import write_lines
from tests.data.text.words import texts_of, write_tokenizer


def training_rows(path: Path, **options: Any) -> TextTable:
    return read_tables(path, **{"skip_empty": False, **options}).splits["training"]


def class_names_of(rows: TextTable, path: Path) -> tuple[str, ...]:
    return labels_of_tables(path, [rows], CLASSIFICATION).names


def test_columns_are_found_in_any_case_and_with_spaces(tmp_path: Path) -> None:
    table = write_lines(tmp_path / "texts.csv", "Text, label,LABEL_NAME ", "a, 0,ask", "b,1 ,buy")
    rows = training_rows(table)
    assert (rows.first, rows.labels, rows.names) == (["a", "b"], ["0", "1"], {"0": "ask", "1": "buy"})


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = write_lines(tmp_path / "texts.csv", "text,Label,label,other,Other", "a,0,1,2,3")
    with pytest.raises(DataError, match="has the columns 'Label' and 'label', two of label; rename one of them"):
        training_rows(table)


@pytest.mark.parametrize("form", [".csv", ".jsonl"])
def test_a_label_with_spaces_around_it_is_the_same_class(tmp_path: Path, form: str) -> None:
    rows = [("a", "ask "), ("b", "ask"), ("c", " buy")]
    if form == ".csv":
        table = write_lines(tmp_path / "texts.csv", "text,label", *map(",".join, rows))
    else:
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        table = write_lines(tmp_path / "texts.jsonl", *lines)
    assert class_names_of(training_rows(table), table) == ("ask", "buy")


def test_labels_that_are_no_finite_numbers_stand_after_those_that_are() -> None:
    labels = ["10", "2", "nan", "inf", "1", "-inf"]
    expected = ["1", "2", "10", "-inf", "inf", "nan"]
    assert all(sorted(order, key=as_ordered) == expected for order in itertools.permutations(labels))


@pytest.mark.parametrize(
    "lines",
    [
        [{"text": "a", "label": 2, "label_name": "sell"}, {"text": "b", "label": 2}],
        [{"text": "a", "label": 2, "label_name": "sell"}, {"text": "b", "label": 2, "label_name": None}],
        [{"text": "a", "label": 2, "label_name": "sell"}, {"text": "b", "label": 2, "label_name": " "}],
    ],
)
def test_a_class_is_named_by_the_rows_that_name_it(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    table = write_lines(tmp_path / "texts.jsonl", *map(json.dumps, [*lines, {"text": "c", "label": 3}]))
    assert class_names_of(training_rows(table), table) == ("sell", "3")


def test_names_in_the_training_file_alone_do(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.csv", "text,label,label_name", "a,0,ask", "b,1,buy")
    write_lines(tmp_path / "test.csv", "text,label", "c,0", "d,1")
    assert training_rows(tmp_path).names == {"0": "ask", "1": "buy"}


@pytest.mark.parametrize(
    ("labels", "names"), [([10, 2, None], ("2", "10")), ([1.5, 2.0, None], ("1.5", "2.0")), ([True, None], ("True",))]
)
def test_a_missing_label_leaves_the_others_as_they_are(tmp_path: Path, labels: list[Any], names: tuple[str]) -> None:
    lines = [json.dumps({"text": f"a{row}", "label": label}) for row, label in enumerate(labels)]
    table = write_lines(tmp_path / "texts.jsonl", *lines)
    assert class_names_of(training_rows(table, skip_empty=True), table) == names


def write_multi_label(folder: Path, labels: list[Any], form: str) -> DataSpec:
    frame = texts_of(len(labels)).assign(label=labels)
    table = folder / f"sets{form}"
    if form == ".jsonl":
        frame.to_json(table, orient="records", lines=True)
    else:
        frame.to_csv(table, sep="\t" if form == ".tsv" else ",", index=False)
    write_tokenizer(folder / "tokenizer.json")
    return DataSpec(name=f"text:{table}", tokenizer=str(folder), task="multi-label")


@pytest.mark.parametrize("form", [".csv", ".tsv", ".jsonl"])
def test_an_empty_label_is_none_of_several(tmp_path: Path, form: str) -> None:
    found = load_data(write_multi_label(tmp_path, ["ask|buy", "", "buy"] * 40, form), tmp_path)
    assert found.class_names == ("ask", "buy")
    counts = torch.cat([split.labels.sum(dim=1) for split in found.splits.values()])
    assert counts.sort().values.tolist() == [0.0] * 40 + [1.0] * 40 + [2.0] * 40


def test_kept_tokens_are_of_the_rows_that_the_task_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "KEPT_TEXTS", 1)
    spec = replace(write_multi_label(tmp_path, ["ask", "", "buy"] * 40, ".csv"), on_error="skip")
    for task, count in {"classification": 80, "multi-label": 120}.items():
        splits = load_data(replace(spec, task=task), tmp_path).splits.values()
        assert sum(len(split.inputs) for split in splits) == count


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [(["ask", None] * 20, "has 20 rows with no label, the first is row 2"), ([""] * 40, "has no label in any of its")],
)
def test_labels_that_are_missing_are_refused_among_several(tmp_path: Path, labels: list[Any], sentence: str) -> None:
    spec = write_multi_label(tmp_path, labels, ".jsonl")
    with pytest.raises(DataError, match=sentence):
        load_data(spec, tmp_path)


@pytest.mark.parametrize(("task", "hidden", "kept"), [("classification", "-1", "0"), ("regression", "-1.0", "2.5")])
def test_a_split_whose_labels_are_hidden_is_passed_over(tmp_path: Path, task: str, hidden: str, kept: str) -> None:
    tokenizer = write_tokenizer(tmp_path / "tokenizer.json")
    lines = [f"good text {place},{label},train" for place in range(20) for label in ("1", kept)]
    lines += [f"bad text {place},{label},val" for place in range(3) for label in ("1", kept)]
    table = write_lines(tmp_path / "t.csv", "text,label,split", *lines, f"a,{hidden},test", f"b,{hidden},test")
    found = source.text(table, tmp_path, DataSpec(name=f"text:{table}", tokenizer=str(tokenizer), task=task))
    assert found.test is None
    assert found.validation is not None
    assert found.passed_over == {"test texts of label -1": 2}
    assert len(found.class_names) == (2 if task == "classification" else 1)
    own = write_lines(tmp_path / "own.csv", "text,label,split", *lines, "a,-1,train", f"b,{hidden},test")
    assert "test" in read_tables(own, skip_empty=False).splits
