"""Files of a folder of texts, by the splits that their names say: train.csv, dev.tsv, or the files of Hugging Face's
export, train-00000-of-00002.parquet and so on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from automl_kd.data.encoded.parquet import require_complete
from automl_kd.data.images.layout import SPELLINGS, Kind
from automl_kd.data.text.forms import READERS
from automl_kd.errors import DataError

TEXT_SPELLINGS: Mapping[str, Kind] = {
    **SPELLINGS,
    "dev": "validation",
    "eval": "validation",
    "evaluation": "validation",
}
"""In small letters. Folders of images may have classes of these names, tables of texts have no such folders."""

SPLIT_TABLE = re.compile(
    rf"(?P<split>{'|'.join(TEXT_SPELLINGS)})(?:-(?P<number>\d+)-of-(?P<of>\d+)(?:-[^.]*)?)?\.[a-z]+", re.IGNORECASE
)


@dataclass(frozen=True)
class FoundTables:
    """`splits`: each file with its split, None where its rows say theirs. `beside`: tables of no split, not read."""

    splits: list[tuple[Kind | None, Path]]
    beside: tuple[str, ...] = ()


def find_tables(path: Path) -> FoundTables:
    """The file at `path`, whose rows say their split; or those of a folder, or of its folder data."""
    if not path.is_dir():
        return FoundTables([(None, path)])
    tables = sorted(file for file in path.iterdir() if file.suffix in READERS)
    matches = [(match, file) for file in tables if (match := SPLIT_TABLE.fullmatch(file.name))]
    if not matches and (path / "data").is_dir():
        return find_tables(path / "data")
    if not matches:
        raise DataError(
            f"{path} has no file such as train.csv ({', '.join(READERS)}); give the path of one, or name them by split"
        )
    refuse_second_table(path, matches)
    for match, file in matches:
        require_complete(path, match, [each.name for _, each in matches], file.suffix)
    splits: list[tuple[Kind | None, Path]] = [(split_said(match), file) for match, file in matches]
    read = [file for _, file in matches]
    # Settings, such as tokenizer.json, are .json files too.
    beside = tuple(file.name for file in tables if file not in read and file.suffix != ".json")
    return FoundTables(splits, beside)


def split_said(match: re.Match[str]) -> Kind:
    return TEXT_SPELLINGS[match["split"].casefold()]


def refuse_second_table(path: Path, matches: list[tuple[re.Match[str], Path]]) -> None:
    """Refuse two files of a split, unless they are numbered parts of the same one."""
    whole: dict[Kind, re.Match[str]] = {}
    for match, file in matches:
        first = whole.setdefault(split_said(match), match)
        parts_of = [(one["split"], one["of"], Path(one.string).suffix) for one in (first, match)]
        if first is not match and (not match["of"] or parts_of[0] != parts_of[1]):
            raise DataError(
                f"{path} has {first.string} and {file.name}, two files of {split_said(match)} texts; keep one of them"
            )
