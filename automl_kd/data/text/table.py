"""Tables of texts: .csv, .tsv, .jsonl and .parquet files with the columns `text`, `label` and, if there are such,
`text2` (the second of a pair), `split` and `label_name`; or a folder with such a file for each split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from automl_kd import files
from automl_kd.data.images.layout import SPELLINGS, Kind
from automl_kd.errors import DataError, FileError

TEXT, SECOND_TEXT, LABEL, SPLIT, LABEL_NAME = "text", "text2", "label", "split", "label_name"

TableReader = Callable[[Path], pd.DataFrame]


def read_separated(separator: str) -> TableReader:
    # As text, and empty fields as empty text: labels such as "NA" or "007" are what they look like.
    return lambda path: pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")


READERS: Mapping[str, TableReader] = {
    ".csv": read_separated(","),
    ".tsv": read_separated("\t"),
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype=False),
    ".parquet": pd.read_parquet,
}


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
    """`files`: all that were read. `left_out`: how many rows had no text or label."""

    splits: Mapping[Kind, TextTable]
    files: tuple[Path, ...]
    left_out: int = 0


def read_tables(path: Path, *, skip_empty: bool) -> TextTables:
    """`skip_empty`: leave out rows without a text, which are refused otherwise.

    `DataError` if the file is missing or damaged, or its columns are not as described above.
    """
    found = find_files(path)
    frames = [(kind, file, read_frame(file)) for kind, file in found]
    whole = pd.concat([one for _, _, one in frames], ignore_index=True)
    kinds: list[Kind] = [kind for kind, file, frame in frames for kind in split_of_rows(kind, file, frame)]
    count = len(whole)
    whole = without_empty(path, whole, skip=skip_empty)
    names = class_names(path, whole)
    splits = {}
    for kind in dict.fromkeys(kinds):
        rows = whole[[kinds[place] == kind for place in whole.index]]
        second = rows[SECOND_TEXT].tolist() if SECOND_TEXT in rows else None
        splits[kind] = TextTable(rows[TEXT].tolist(), second, rows[LABEL].tolist(), names)
    if "training" not in splits:
        raise DataError(f"{path} has no texts to train on, only {', '.join(splits)}; call their split 'train'")
    return TextTables(splits, tuple(file for _, file in found), count - len(whole))


def find_files(path: Path) -> list[tuple[Kind | None, Path]]:
    """The file at `path`, whose rows say their split; or those of a folder, by the splits that their names say."""
    if not path.is_dir():
        return [(None, path)]
    matches = [(SPELLINGS.get(file.stem.casefold()), file) for file in sorted(path.iterdir()) if file.suffix in READERS]
    named = [(kind, file) for kind, file in matches if kind]
    if not named:
        raise DataError(
            f"{path} has no file such as train.csv ({', '.join(READERS)}); give the path of one, or name them by split"
        )
    kinds = [kind for kind, _ in named]
    if twice := next((kind for kind in kinds if kinds.count(kind) > 1), None):
        both = " and ".join(file.name for kind, file in named if kind == twice)
        raise DataError(f"{path} has {both}, two files of {twice} texts; keep one of them")
    return list(named)


def read_frame(path: Path) -> pd.DataFrame:
    if path.suffix not in READERS:
        raise DataError(f"{path} is no table of texts; give the path of one in {', '.join(READERS)}")
    try:
        files.require_file(path)
        frame = READERS[path.suffix](path)
    except FileError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not in UTF-8 (byte {error.start:,}); convert it, such as by iconv -f LATIN1 -t UTF-8"
        ) from error
    except (ValueError, OSError) as error:  # whatever damaged bytes lead pandas to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} could not be read as one of {path.suffix} ({reason}); write it again") from error
    if missing := [name for name in (TEXT, LABEL) if name not in frame]:
        there = ", ".join(map(str, frame.columns)) or "none"
        raise DataError(f"{path} has no column {missing[0]!r}, only {there}; rename the one that holds it")
    if not len(frame):
        raise DataError(f"{path} has columns and no rows; add texts")
    return frame


def split_of_rows(kind: Kind | None, path: Path, frame: pd.DataFrame) -> list[Kind]:
    """The split of each row."""
    if kind or SPLIT not in frame:
        return [kind or "training"] * len(frame)
    spelt = frame[SPLIT].astype(str).str.casefold()
    if unknown := sorted(set(spelt) - set(SPELLINGS)):
        raise DataError(f"{path} has rows of the split {unknown[0]!r}; call splits train, val and test")
    return [SPELLINGS[one] for one in spelt]


def without_empty(path: Path, frame: pd.DataFrame, *, skip: bool) -> pd.DataFrame:
    """The rows with texts and labels, under their numbers in all files."""
    texts = [name for name in (TEXT, SECOND_TEXT) if name in frame]
    for name in (*texts, LABEL):
        if (empty := frame[name].isna() | (frame[name].astype(str).str.strip() == "")).any() and not skip:
            row = int(empty.to_numpy().argmax())
            raise DataError(
                f"{path} has {int(empty.sum()):,} rows with no {name}, the first is row {row + 1:,}; fill them in, "
                'or set data.on_error = "skip" to leave them out'
            )
        frame = frame[~empty]
    kept = frame.copy()
    kept[texts] = kept[texts].astype(str)
    return kept


def class_names(path: Path, frame: pd.DataFrame) -> dict[Any, str]:
    """By label. `DataError` if a label has two names."""
    if LABEL_NAME not in frame:
        return {}
    pairs = frame[[LABEL, LABEL_NAME]].astype(str).drop_duplicates()
    if (twice := pairs[LABEL].duplicated()).any():
        label = pairs[LABEL][twice].iloc[0]
        both = " and ".join(map(repr, pairs[LABEL_NAME][pairs[LABEL] == label].iloc[:2]))
        raise DataError(f"{path} calls label {label} both {both} in {LABEL_NAME}; give each label one name")
    return dict(zip(pairs[LABEL], pairs[LABEL_NAME], strict=True))
