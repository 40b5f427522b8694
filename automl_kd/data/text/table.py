"""Tables of texts: files of a form in `forms` with the columns `text`, `label` and, if there are such, `text2` (the
second of a pair), `split` and `label_name`; or a folder with such a file for each split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from automl_kd import files
from automl_kd.data.encoded.parquet import WITHHELD
from automl_kd.data.images.layout import Kind
from automl_kd.data.text.forms import READERS
from automl_kd.data.text.split_files import TEXT_SPELLINGS, find_tables
from automl_kd.errors import DataError, FileError

TEXT, SECOND_TEXT, LABEL, SPLIT, LABEL_NAME = "text", "text2", "label", "split", "label_name"
TEXT_COLUMNS = (TEXT, SECOND_TEXT, LABEL, SPLIT, LABEL_NAME)

WITHHELD_SPELT = {f"{WITHHELD}", f"{WITHHELD}.0"}
"""How tables write that a label is not given away."""


@dataclass(frozen=True, eq=False)
class TextTable:
    """Rows of one split. `first`, `second`: the texts, and those that go with them, None where there are none.

    `labels`: as the file has them. `names`: the names of these classes by label; empty where there are none.
    """

    first: list[str]
    second: list[str] | None
    labels: list[Any]
    names: Mapping[Any, str]

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True, eq=False)
class TextTables:
    """`files`: all that were read. `left_out`: how many rows were not taken, by what they lack. `notes`: how files were
    read.
    """

    splits: Mapping[Kind, TextTable]
    files: tuple[Path, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_tables(path: Path, *, skip_empty: bool, none_of_all: bool = False) -> TextTables:
    """`skip_empty`: leave out rows without a text, which are refused otherwise. `none_of_all`: an empty label says that
    the text has none of the labels.

    `DataError` if the file is missing or damaged, or its columns are not as described above.
    """
    found = find_tables(path)
    frames = [(kind, file, *read_frame(file)) for kind, file in found.splits]
    whole = pd.concat([frame for _, _, frame, _ in frames], ignore_index=True)
    kinds: list[Kind] = [kind for kind, file, frame, _ in frames for kind in split_of_rows(kind, file, frame)]
    count = len(whole)
    whole = without_empty(path, whole, skip=skip_empty, none_of_all=none_of_all)
    names = class_names(path, whole)
    left_out = {"rows without a text or label": count - len(whole)} if count > len(whole) else {}
    splits: dict[Kind, TextTable] = {}
    for kind in dict.fromkeys(kinds):
        rows = whole[[kinds[place] == kind for place in whole.index]]
        second = rows[SECOND_TEXT].tolist() if SECOND_TEXT in rows else None
        splits[kind] = TextTable(rows[TEXT].tolist(), second, rows[LABEL].tolist(), names)
    if "training" not in splits:
        raise DataError(f"{path} has no texts to train on, only {', '.join(splits)}; call their split 'train'")
    for kind in hidden_splits(splits):
        left_out[f"{kind} texts of label {WITHHELD}"] = len(splits.pop(kind))
    notes = [note for _, _, _, note in frames if note]
    if beside := found.beside:
        more = f" and {len(beside) - 3:,} more" if len(beside) > 3 else ""
        notes.append(f"not read, as their names say no split: {', '.join(beside[:3])}{more}")
    return TextTables(splits, tuple(file for _, file in found.splits), left_out, tuple(notes))


def hidden_splits(splits: Mapping[Kind, TextTable]) -> list[Kind]:
    """Those whose labels are not given away: all are -1, as in GLUE's tests, and no text to train on has that label."""
    labels = {kind: {str(one) for one in table.labels} for kind, table in splits.items()}
    return [
        kind
        for kind, own in labels.items()
        if own and own <= WITHHELD_SPELT and not WITHHELD_SPELT & labels["training"]
    ]


def read_frame(path: Path) -> tuple[pd.DataFrame, str]:
    """The table, and what is to be known of how it was read."""
    if path.suffix not in READERS:
        raise DataError(f"{path} is no table of texts; give the path of one in {', '.join(READERS)}")
    try:
        files.require_file(path)
        frame, note = READERS[path.suffix](path)
    except FileError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not in UTF-8 (byte {error.start:,}); convert it, such as by iconv -f LATIN1 -t UTF-8"
        ) from error
    except (ValueError, OSError) as error:  # whatever damaged bytes lead pandas to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} could not be read as one of {path.suffix} ({reason}); write it again") from error
    frame = with_known_columns(path, frame)
    if missing := [name for name in (TEXT, LABEL) if name not in frame]:
        there = ", ".join(map(str, frame.columns)) or "none"
        raise DataError(f"{path} has no column {missing[0]!r}, only {there}; rename the one that holds it")
    if not len(frame):
        raise DataError(f"{path} has columns and no rows; add texts")
    return frame, note


def with_known_columns(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Columns that are called as one of `TEXT_COLUMNS` but for capitals and spaces around them, under that name."""
    found: dict[str, Any] = {}
    for name in frame.columns:
        if (known := str(name).strip().casefold()) not in TEXT_COLUMNS:
            continue
        if known in found:
            raise DataError(f"{path} has the columns {found[known]!r} and {name!r}, two of {known}; rename one of them")
        found[known] = name
    return frame.rename(columns={name: known for known, name in found.items()})


def split_of_rows(kind: Kind | None, path: Path, frame: pd.DataFrame) -> list[Kind]:
    """The split of each row."""
    if kind or SPLIT not in frame:
        return [kind or "training"] * len(frame)
    spelt = frame[SPLIT].astype(str).str.strip().str.casefold()
    if unknown := sorted(set(spelt) - set(TEXT_SPELLINGS)):
        raise DataError(f"{path} has rows of the split {unknown[0]!r}; call splits train, val and test")
    return [TEXT_SPELLINGS[one] for one in spelt]


def without_empty(path: Path, frame: pd.DataFrame, *, skip: bool, none_of_all: bool) -> pd.DataFrame:
    """The rows with texts and labels, under their numbers in all files."""
    texts = [name for name in (TEXT, SECOND_TEXT) if name in frame]
    for name in (*texts, LABEL):
        empty = frame[name].isna()
        if name != LABEL or not none_of_all:
            empty |= frame[name].astype(str).str.strip() == ""
        if empty.any() and not skip:
            row = int(empty.to_numpy().argmax())
            raise DataError(
                f"{path} has {int(empty.sum()):,} rows with no {name}, the first is row {row + 1:,}; fill them in, "
                'or set data.on_error = "skip" to leave them out'
            )
        frame = frame[~empty]
    kept = frame.copy()
    kept[texts] = kept[texts].astype(str)
    kept[LABEL] = pd.Series(plain_labels(kept[LABEL].tolist()), index=kept.index, dtype=object)
    return kept


def plain_labels(labels: list[Any]) -> list[Any]:
    """Without spaces around them; floats as integers if all of them are whole, as one missing label turns all integers
    of a column into floats.
    """
    whole = all(one.is_integer() for one in labels if isinstance(one, float))
    plain: dict[type, Callable[[Any], Any]] = {str: str.strip, float: int} if whole else {str: str.strip}
    return [plain[type(one)](one) if type(one) in plain else one for one in labels]


def class_names(path: Path, frame: pd.DataFrame) -> dict[Any, str]:
    """By label, of the rows that have a name. `DataError` if a label has two names."""
    if LABEL_NAME not in frame:
        return {}
    pairs = frame.loc[frame[LABEL_NAME].notna(), [LABEL, LABEL_NAME]].astype(str)
    pairs[LABEL_NAME] = pairs[LABEL_NAME].str.strip()
    pairs = pairs[pairs[LABEL_NAME] != ""].drop_duplicates()
    if (twice := pairs[LABEL].duplicated()).any():
        label = pairs[LABEL][twice].iloc[0]
        both = " and ".join(map(repr, pairs[LABEL_NAME][pairs[LABEL] == label].iloc[:2]))
        raise DataError(f"{path} calls label {label} both {both} in {LABEL_NAME}; give each label one name")
    return dict(zip(pairs[LABEL], pairs[LABEL_NAME], strict=True))
