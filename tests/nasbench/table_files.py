"""A NAS-Bench-201 table of a few cells with numbers made up by hand, on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from automl_kd.errors import AutoMLKDError
from automl_kd.nasbench.table.columns import TABLE_DATASETS
from search_spaces.nasbench201 import from_index, to_string

NUMBERS = (3, 0, 284, 11)
"""Official numbers of the four rows, not sorted."""


def cell(number: int) -> str:
    return to_string(from_index(number))


def columns(numbers: Sequence[int] = NUMBERS) -> dict[str, list[object]]:
    """Everything a table must have. In row i, the accuracies are 50 + i (validation) and 60 - i (test)."""
    rows = range(len(numbers))
    made: dict[str, list[object]] = {
        "arch_index": list(numbers),
        "arch_str": [cell(number) for number in numbers],
        "cifar10_trainhalf_train_time_12_s": [12.0 * (i + 1) for i in rows],
    }
    for dataset in TABLE_DATASETS:
        made[f"{dataset}_valid_acc_12"] = [50.0 + i for i in rows]
        made[f"{dataset}_test_acc_200"] = [60.0 - i for i in rows]
        made[f"{dataset}_params_m"] = [0.1 * (i + 1) for i in rows]
        made[f"{dataset}_flops_m"] = [10.0 * (i + 1) for i in rows]
    return made


def write(
    folder: Path,
    changed: Mapping[str, Sequence[object]] | None = None,
    *,
    left_out: str = "",
    metadata: Mapping[bytes, bytes] | None = None,
) -> Path:
    """The table with some columns changed or added and one left out."""
    made = {name: pa.array(values) for name, values in {**columns(), **(changed or {})}.items() if name != left_out}
    path = folder / "nasbench201.parquet"
    pq.write_table(pa.table(made).replace_schema_metadata(metadata), path)
    return path


def sentence(call: Callable[..., object], *arguments: object, kind: type[AutoMLKDError] = AutoMLKDError) -> str:
    """What is said where `call` is refused."""
    with pytest.raises(kind) as caught:
        call(*arguments)
    said = str(caught.value)
    assert "\n" not in said
    return said
