"""Forms of tables: how a file becomes rows and columns, by its suffix."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import pandas as pd

ENCLOSED_FIELD = re.compile(r'(?:\A|(?<=[\t\r\n]))"(?:[^"]++|"")*+"(?=[\t\r\n]|\Z)')
OPENED_FIELD = re.compile(r'(?:\A|[\t\r\n])"')
"""Fields of a .tsv: one in quotation marks, with those inside it doubled; and where one begins with a mark."""


def read_commas(path: Path) -> tuple[pd.DataFrame, str]:
    # As text, and empty fields as empty text: labels such as "NA" or "007" are what they look like.
    return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig"), ""


def read_tabs(path: Path) -> tuple[pd.DataFrame, str]:
    whole = path.read_bytes().decode("utf-8-sig")
    enclosed = marks_enclose_fields(whole)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if enclosed else csv.QUOTE_NONE
    frame = pd.read_csv(io.StringIO(whole), sep="\t", dtype=str, keep_default_na=False, quoting=quoting)
    return frame, "" if enclosed else f"quotation marks in {path.name} are read as part of its texts"


def marks_enclose_fields(whole: str) -> bool:
    """Whether quotation marks in tab-separated text enclose fields; otherwise each line is a row, as in GLUE.

    They do if each mark that opens a field is closed at the end of a field, and those between are doubled. But if all
    lines have as many tabs as the first, each line is a row already: then none of these fields may hold a tab or a
    line break.
    """
    if '"' not in whole:
        return True
    if OPENED_FIELD.search(ENCLOSED_FIELD.sub("", whole)):
        return False
    if not any(re.search(r"[\t\r\n]", field) for field in ENCLOSED_FIELD.findall(whole)):
        return True
    return len({line.count("\t") for line in re.split(r"\r\n?|\n", whole) if line.strip(" ")}) > 1


def read_json_lines(path: Path) -> tuple[pd.DataFrame, str]:
    return pd.read_json(path, lines=True, dtype=False), ""


def read_json_table(path: Path) -> tuple[pd.DataFrame, str]:
    """Of lines as of a .jsonl, or of one list."""
    with path.open(encoding="utf-8") as opened:
        lines = not opened.read(4096).lstrip().startswith("[")
    return pd.read_json(path, lines=lines, dtype=False), ""


def read_parquet_table(path: Path) -> tuple[pd.DataFrame, str]:
    return pd.read_parquet(path), ""


READERS: Mapping[str, Callable[[Path], tuple[pd.DataFrame, str]]] = {
    ".csv": read_commas,
    ".tsv": read_tabs,
    ".jsonl": read_json_lines,
    ".json": read_json_table,
    ".parquet": read_parquet_table,
}
"""By suffix: the table, and what a reader of results should know of how it was read."""
