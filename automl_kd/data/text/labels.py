"""Labels of tables, as numbers of classes or as what another task asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from automl_kd.data.text.table import TextTable
from automl_kd.errors import DataError
from automl_kd.tasks import Task

SEVERAL = "|"
"""Between the labels of one text in a column of text."""


class Labels(NamedTuple):
    """`values`: of each table, int64 (n,) or float32 (n, outputs). `names`: of the classes or outputs."""

    values: list[Tensor]
    names: tuple[str, ...]


def labels_of_tables(path: Path, tables: Sequence[TextTable], task: Task) -> Labels:
    """Of tables of one set, the first to train on. `DataError` for labels that the task cannot have."""
    if task.labels_are_classes:
        return classes_of(tables)
    if task.labels_are_numbers:
        return label_numbers(path, tables)
    if not (labels := sets_of(tables)).names:
        raise DataError(f"{path} has no label in any of its rows; give some texts labels such as ask|buy")
    return labels


def classes_of(tables: Sequence[TextTable]) -> Labels:
    """In the order of numbers where all are numbers, else of the alphabet."""
    found = sorted({str(one) for table in tables for one in table.labels}, key=as_ordered)
    places = {label: place for place, label in enumerate(found)}
    names = {name: own for table in tables for name, own in table.names.items()}
    values = [torch.tensor([places[str(one)] for one in table.labels], dtype=torch.int64) for table in tables]
    return Labels(values, tuple(names.get(label, label) for label in found))


def as_ordered(label: str) -> tuple[int, float, str]:
    """By which labels are sorted: finite numbers first. Words are "nan" and "inf", too."""
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    return (0, number, label) if math.isfinite(number) else (1, 0.0, label)


def sets_of(tables: Sequence[TextTable]) -> Labels:
    split = [[in_set(one) for one in table.labels] for table in tables]
    names = sorted({name for one in split for row in one for name in row}, key=as_ordered)
    places = {name: place for place, name in enumerate(names)}
    values = []
    for rows in split:
        there = torch.zeros(len(rows), len(names))
        for place, row in enumerate(rows):
            there[place, [places[name] for name in row]] = 1
        values.append(there)
    return Labels(values, tuple(names))


def in_set(label: Any) -> list[str]:
    several = label.split(SEVERAL) if isinstance(label, str) else label
    each = several if isinstance(several, list | tuple | np.ndarray) else [several]
    return [text for one in each if (text := str(one).strip())]


def label_numbers(path: Path, tables: Sequence[TextTable]) -> Labels:
    """One number, or a list of as many for each."""
    try:
        rows = [np.array([np.atleast_1d(one) for one in table.labels], dtype=np.float32) for table in tables]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} has labels that are no numbers, or not as many in each row ({error})") from error
    if not all(np.isfinite(one).all() for one in rows):
        raise DataError(f"{path} has labels that are not finite; correct them")
    outputs = rows[0].shape[1]
    return Labels(list(map(torch.from_numpy, rows)), tuple(f"output {place}" for place in range(outputs)))
