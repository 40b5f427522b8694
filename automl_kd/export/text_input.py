"""Texts as a trained student takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from automl_kd import files
from automl_kd.data.text.tokens import TOKENIZER_FILE, Tokenizer
from automl_kd.errors import DataError
from automl_kd.models.black_box.graph import LOGITS_NAME
from automl_kd.models.text.shape import as_text
from automl_kd.space import TextShape, read_shape

IDS_NAME, MASK_NAME = "input_ids", "attention_mask"

Text = str | tuple[str, str]
"""One text, or a pair of them."""


@dataclass(frozen=True)
class TextInput:
    """Called with one text, a pair, or a list of either, it returns the tokens that a student takes.

    `tokenizer`: its file. `max_length`: tokens after which a text is cut off, `data.max_length` unless the student's
    positions end before.
    """

    noun: ClassVar[str] = "texts"
    pipeline: ClassVar[str] = "text-classification"
    names: ClassVar[tuple[str, ...]] = (IDS_NAME, MASK_NAME)
    example_name: ClassVar[str] = "text"
    example_note: ClassVar[str] = "text: a str, or two as a tuple"
    program_line: ClassVar[str] = (
        "`python run.py TEXT` names the class of texts; it needs onnxruntime, numpy and tokenizers alone."
    )
    shape: TextShape
    tokenizer: Path
    max_length: int

    @staticmethod
    def from_record(record: Mapping[str, Any], folder: Path) -> TextInput:
        """As `to_record` wrote it; `KeyError`, `TypeError` or `ValueError` for another record."""
        shape = read_shape(record["shape"])
        return TextInput(as_text(shape), folder / TOKENIZER_FILE, int(record["max_length"]))

    def to_record(self) -> dict[str, Any]:
        return {"shape": asdict(self.shape), "max_length": self.max_length}

    @property
    def summary(self) -> str:
        return f"texts of up to {self.max_length} tokens"

    def describe_graph(self, takes_bytes: bool) -> str:  # noqa: ARG002 - refused before
        """What a graph takes and returns."""
        return f"int64 (n, length) each; {LOGITS_NAME} come out"

    @property
    def steps(self) -> str:
        return (
            f"`{TOKENIZER_FILE}` turns a text into tokens, of which the first {self.max_length} are kept. Texts of a "
            f"batch are filled up with {self.shape.padding} to one length; `{MASK_NAME}` is 0 there and 1 elsewhere."
        )

    def describe(self) -> dict[str, Any]:
        """Of preprocessing.json, for whoever reads it without this library."""
        return {"tokenizer": TOKENIZER_FILE, "padding": self.shape.padding}

    def write_files(self, folder: Path) -> None:
        files.write(folder / TOKENIZER_FILE, files.read_bytes(self.tokenizer, limit=2**28))

    @cached_property
    def writer(self) -> Tokenizer:
        return Tokenizer(self.tokenizer, self.max_length)

    def __call__(self, texts: Text | Sequence[Text]) -> Tensor:
        """int64 (batch, length); a single text is a batch of one. `DataError` for anything but texts and pairs."""
        several = [texts] if isinstance(texts, str | tuple) else list(texts)
        pairs = [one if isinstance(one, tuple) else (one, None) for one in several]
        if not pairs or not all(len(one) == 2 and isinstance(one[0], str) for one in pairs):
            raise DataError("texts are no str, tuple of two str or list of these; give one of them")
        if len({two is None for _, two in pairs}) > 1:
            raise DataError("some texts are single and others pairs; give lists of one kind")
        seconds = [two for _, two in pairs if two is not None]
        return self.writer.write([one for one, _ in pairs], seconds or None).ids.long()
