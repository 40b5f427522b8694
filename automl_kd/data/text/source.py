"""`text:PATH`: a table of texts (`table`), written in the tokens of `data.tokenizer`.

Tokens of large tables are kept below the root of data for later processes, by the content of the tokenizer's file, and
the place, size and date of the table's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from automl_kd import files
from automl_kd.data.fit import Fit
from automl_kd.data.kept import alone, ground, hashed
from automl_kd.data.source import Source, SourceSplit, TextFacts
from automl_kd.data.text.labels import labels_of_tables
from automl_kd.data.text.table import TextTable, read_tables
from automl_kd.data.text.tokens import Tokenizer, Tokens, require_tokenizer
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec
from automl_kd.storage.content_hash import digest_content, located_path
from automl_kd.tasks import find_task

KEPT_TEXTS = 20_000
"""Of fewer texts no tokens are kept: they are written again in a second or two."""

ROWS = "text rows 2"
"""Another one where the rows read from a file become others, so that no tokens of earlier ones are taken."""


def text(path: Path, root: Path, spec: DataSpec) -> Source:
    """`DataError` if the table is missing, damaged or empty, `ConfigError` if no tokenizer can be read."""
    refuse_image_options(spec)
    task = find_task(spec.task, spec.metric)
    file = located_path(require_tokenizer(spec.tokenizer))
    tokenizer = Tokenizer(file, spec.max_length)
    sets_of_labels = not (task.labels_are_classes or task.labels_are_numbers)
    found = read_tables(path, skip_empty=spec.on_error == "skip", none_of_all=sets_of_labels)
    labels = labels_of_tables(path, list(found.splits.values()), task)
    stamp = hashed((ROWS, digest_content(file), spec.max_length, spec.on_error, spec.task), found.files)
    tokens = {
        kind: write_once(table, tokenizer, ground(root) / ".tokens" / f"{stamp}-{kind}.npz")
        for kind, table in found.splits.items()
    }
    parts = {
        kind: SourceSplit(values, partial(tokens_of_rows, tokens[kind].ids), lengths=tokens[kind].lengths)
        for kind, values in zip(found.splits, labels.values, strict=True)
    }
    cut = sum(one.cut for one in tokens.values())
    cut_off = (f"{cut:,} texts have more than {spec.max_length} tokens and are cut off",) if cut else ()
    return Source(
        train=parts["training"],
        validation=parts.get("validation"),
        test=parts.get("test"),
        class_names=labels.names,
        augment="none",
        note="; ".join(found.notes + cut_off),
        passed_over=found.left_out,
        files=found.files,
        texts=TextFacts(
            vocabulary=tokenizer.vocabulary,
            padding=tokenizer.padding,
            separator=tokenizer.separator,
            longest=max(one.ids.shape[1] for one in tokens.values()),
        ),
        task=task,
    )


OF_IMAGES = (
    *("resolution", "max_value", "mean", "std", "unlabelled", "crop", "interpolation", "resize"),
    *("decoder", "transform"),
)
"""Options of data that say how images are read."""


def refuse_image_options(spec: DataSpec) -> None:
    if given := [name for name in OF_IMAGES if getattr(spec, name) != getattr(DataSpec, name)]:
        raise DataError(f"data.{given[0]} is for images, and {spec.name} holds texts; drop it")


def tokens_of_rows(ids: Tensor, rows: Tensor, _fit: Fit) -> Tensor:
    return ids[rows]


def write_once(table: TextTable, tokenizer: Tokenizer, kept: Path) -> Tokens:
    """The table's tokens, of a large one from the file `kept` once they are there."""
    write: Callable[[], Tokens] = lambda: tokenizer.write(table.first, table.second)  # noqa: E731
    if len(table) < KEPT_TEXTS:
        return write()
    if (found := read_kept(kept)) is not None:
        return found
    with alone(kept):
        if (found := read_kept(kept)) is not None:
            return found
        made = write()
        with files.replacing(kept, durable=False) as scratch, scratch.open("wb") as opened:
            np.savez(opened, ids=made.ids.numpy(), lengths=made.lengths.numpy(), cut=made.cut)
    return made


def read_kept(path: Path) -> Tokens | None:
    try:
        with np.load(path) as found:
            ids, lengths = (torch.from_numpy(found[name]) for name in ("ids", "lengths"))
            return Tokens(ids, lengths, int(found["cut"]))
    except (OSError, ValueError, KeyError, EOFError):
        return None
