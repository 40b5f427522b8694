"""A small set of texts, and a tokenizer of whole words that knows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

WORDS = [f"word{number}" for number in range(40)]
CLASSES = ["ask", "buy", "sell"]


def texts_of(count: int, seed: int = 0) -> pd.DataFrame:
    """Texts of 3 to 12 words, of which every third belongs to its class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(CLASSES), size=count)
    rows = []
    for label in labels:
        words = [WORDS[number] for number in rng.integers(30, size=rng.integers(3, 13))]
        words[::3] = [WORDS[30 + 3 * label + number] for number in rng.integers(3, size=len(words[::3]))]
        rows.append(" ".join(words))
    return pd.DataFrame({"text": rows, "label": [CLASSES[label] for label in labels]})


def write_tokenizer(path: Path) -> Path:
    tokenizers = pytest.importorskip("tokenizers")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.save(str(path))
    return path


def write_set(folder: Path, count: int = 240, seed: int = 0) -> Path:
    """A table of texts in training, validation and test, beside a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = texts_of(count, seed)
    frame["split"] = (
        ["train"] * (count * 2 // 3) + ["val"] * (count // 6) + ["test"] * (count - count * 2 // 3 - count // 6)
    )
    frame.to_csv(folder / "texts.csv", index=False)
    write_tokenizer(folder / "tokenizer.json")
    return folder / "texts.csv"


def encoder_of(folder: Path, width: int = 48) -> Path:
    """A folder as of Hugging Face with a small BERT."""
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    config = transformers.BertConfig(
        vocab_size=44, hidden_size=width, num_hidden_layers=2, num_attention_heads=4, intermediate_size=2 * width
    )
    transformers.BertModel(config).save_pretrained(folder)
    write_tokenizer(folder / "tokenizer.json")
    return folder
