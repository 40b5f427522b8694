"""What is timed on texts: questions, an encoder of MiniLM-L6's size as the teacher, students of some of its layers.

Weights are drawn, as a step's cost does not depend on them. The questions are drawn too, unless a table is named: their
lengths are about those of TREC-6, 5 to 40 tokens with a mean of 12.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from automl_kd.data import load_data
from automl_kd.models.text.bert import Bert, BertPlan
from automl_kd.models.text.shape import as_text
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import Architecture, InputShape
from automl_kd.spec import DataSpec, Recipe, TeacherSpec, TrialPaths, TrialSpec, teacher_trial
from benchmarks.perf.standing import SEED

CLASSES, WORDS = 6, 30_000
MINILM = BertPlan(layers=6, width=384, heads=12, inner=1536, positions=512, pool="first")
TEACHER = TeacherSpec(model="benchmarks.perf.texts.scene:build_minilm")


def build_minilm(shape: InputShape) -> nn.Module:
    return Bert(as_text(shape), MINILM)


def student(layers: int) -> Architecture:
    return Architecture.of(
        {"layers": layers, "width": 384, "heads": 12, "mlp": 4.0, "embedding": 384, "start": "first"}
    )


@dataclass(frozen=True, kw_only=True)
class TextScene:
    """`table`, `tokenizer`: of real texts, or None for drawn ones."""

    recipe: Recipe
    texts: int
    table: Path | None = None
    tokenizer: Path | None = None

    def data(self, root: Path) -> DataSpec:
        table, tokenizer = self.table or root / "questions.csv", self.tokenizer or root / "tokenizer.json"
        if self.table is None and not table.exists():
            write_questions(root, self.texts)
        return DataSpec(name=f"text:{table}", tokenizer=str(tokenizer), max_length=64, train_images=self.texts)

    def spec(self, root: Path, method: str = "measured", layers: int = 3) -> TrialSpec:
        return TrialSpec(
            space="search_spaces.bert:SPACE",
            architecture=student(layers),
            method=method,
            data=self.data(root),
            teacher=TEACHER,
            recipe=self.recipe,
            seed=SEED,
        )

    def prepare(self, root: Path) -> TrialPaths:
        """Write texts and teacher to disk, where methods look for them."""
        data = self.data(root)
        torch.manual_seed(SEED)
        teacher = build_minilm(load_data(data, root).shape)
        save_weights(teacher, root / "teachers" / teacher_trial(TEACHER, data).key / "student.pt")
        return TrialPaths(trial=root / "trial", teachers=root / "teachers", data=root)


def write_questions(root: Path, count: int) -> None:
    """A table of texts for training and some for tests, and a tokenizer of their words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: PLC0415  optional

    rng = np.random.default_rng(SEED)
    lengths = np.clip(np.exp(rng.normal(2.25, 0.38, count + 200)), 3, 38).astype(int)
    texts = [" ".join(f"w{number}" for number in rng.integers(WORDS, size=length)) for length in lengths]
    labels = rng.integers(CLASSES, size=len(texts))
    splits = ["train"] * count + ["val"] * 100 + ["test"] * 100
    pd.DataFrame({"text": texts, "label": [f"class{one}" for one in labels], "split": splits}).to_csv(
        root / "questions.csv", index=False
    )
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(WORDS))]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(root / "tokenizer.json"))


def parse(description: str, rounds: int, texts: int = 2560) -> tuple[argparse.Namespace, TextScene]:
    """What all scripts of this folder are asked, and the texts that follow from it; sets one thread."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds, help=f"of everyone (default: {rounds})")
    parser.add_argument("--batch", type=int, default=32, help="texts in a step (default: 32)")
    parser.add_argument("--texts", type=int, default=texts, help=f"to train on (default: {texts:,})")
    parser.add_argument("--table", type=Path, help="of texts, such as data/text/trec6.parquet (default: drawn)")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json of the table's words")
    found = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe(
        epochs=100,
        batch_size=found.batch,
        optimizer="adamw",
        lr=1e-4,
        weight_decay=0.01,
        clip_norm=1.0,
        schedule="cosine",
    )
    return found, TextScene(recipe=recipe, texts=found.texts, table=found.table, tokenizer=found.tokenizer)
