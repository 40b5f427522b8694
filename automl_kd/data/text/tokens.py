"""Tokens: the numbers by which a tokenizer writes a text, which networks take.

A tokenizer is a file tokenizer.json of Hugging Face's tokenizers, as stands beside the weights of a published model.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from automl_kd import files
from automl_kd.errors import ConfigError, FileError
from automl_kd.storage.content_hash import pin

TOKENIZER_FILE = "tokenizer.json"

OTHER_TOKENIZERS = (
    "vocab.txt",
    "vocab.json",
    "spm.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
"""Files of tokenizers that the package transformers makes a `TOKENIZER_FILE` of."""

PADDINGS, SEPARATORS = ("[PAD]", "<pad>"), ("[SEP]", "</s>")
"""What tokenizers call them."""

NO_TOKEN = -1
"""Stands for a token that is not there."""

TEXTS_AT_ONCE = 4096
"""Texts that are written at once."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """`ids`: int32 (n, longest), filled up with padding. `lengths`: int64 (n,). `cut`: how many texts were cut off."""

    ids: Tensor
    lengths: Tensor
    cut: int


class Tokenizer:
    """One tokenizer, which cuts texts off after `max_length` tokens.

    `vocabulary`: how many tokens there are. `padding`, `separator`: two of them, see `TextShape`; no token where two
    separators stand between the texts of a pair, as RoBERTa's tokenizers write them, whose texts have no numbers.
    """

    def __init__(self, file: Path, max_length: int) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # each worker has one core
        library = require_tokenizers()
        try:
            files.require_file(file)
            self.inner: Any = library.Tokenizer.from_file(str(file))
        except FileError as error:
            raise ConfigError(f"data.tokenizer: {file} cannot be read: {error.strerror}; check the path") from error
        except Exception as error:  # the library raises plain ones
            raise ConfigError(f"data.tokenizer: {file} is no file of the tokenizers library ({error})") from error
        self.inner.no_padding()
        self.inner.no_truncation()
        self.max_length = max_length
        self.vocabulary: int = self.inner.get_vocab_size(with_added_tokens=True)
        self.padding, self.separator = self.token_of(PADDINGS, file), self.token_of(SEPARATORS, file)
        pair: list[int] = self.inner.encode("a", "b").ids
        if any(one == two == self.separator for one, two in pairwise(pair)):
            self.separator = NO_TOKEN

    def token_of(self, names: tuple[str, ...], file: Path) -> int:
        for name in names:
            if (found := self.inner.token_to_id(name)) is not None:
                return int(found)
        raise ConfigError(
            f"data.tokenizer: {file} has no token {' or '.join(names)}; take one of an encoder such as BERT"
        )

    def read(self, tokens: list[int]) -> str:
        """A text of these tokens, without special ones."""
        text: str = self.inner.decode(tokens, skip_special_tokens=True)
        return text

    def write(self, first: list[str], second: list[str] | None = None) -> Tokens:
        """Texts, or pairs of them, as tokens. A text that is too long is cut as the library cuts: a pair's longer one
        first.
        """
        pairs: list[Any] = first if second is None else list(zip(first, second, strict=True))
        self.inner.enable_truncation(self.max_length)
        rows: list[list[int]] = []
        cut = 0
        for begin in range(0, len(pairs), TEXTS_AT_ONCE):
            for one in self.inner.encode_batch(pairs[begin : begin + TEXTS_AT_ONCE]):
                rows.append(one.ids)
                cut += bool(one.overflowing)
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        ids = np.full((len(rows), int(lengths.max(initial=1))), self.padding, dtype=np.int32)
        ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate(rows) if rows else []
        return Tokens(torch.from_numpy(ids), torch.from_numpy(lengths), cut)


def require_tokenizers() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise ConfigError("texts need the package tokenizers; install it by pip install 'automl-kd[text]'") from error


def pin_tokenizer(name: str) -> str:
    """The file `name`, or the one in that folder, with its content hash."""
    path = files.expand(name)
    others = [other for other in OTHER_TOKENIZERS if (path / other).is_file()]
    if others and not (path / TOKENIZER_FILE).exists():
        raise ConfigError(
            f"data.tokenizer: {path} holds {others[0]} and no {TOKENIZER_FILE}; with the package transformers write it "
            f'by python -c "from transformers import AutoTokenizer; '
            f"AutoTokenizer.from_pretrained('{path}').save_pretrained('{path}')\""
        )
    try:
        return pin(str(path / TOKENIZER_FILE) if path.is_dir() else name)
    except ConfigError as error:
        raise ConfigError(f"data.tokenizer: {error}, or name the folder that holds {TOKENIZER_FILE}") from error


def require_tokenizer(name: str) -> str:
    """`ConfigError` if data.tokenizer is empty."""
    if not name:
        raise ConfigError(
            "texts become tokens by a tokenizer, and none is named; set data.tokenizer to a file tokenizer.json, or "
            "take a teacher hf:FOLDER that has one"
        )
    return name
