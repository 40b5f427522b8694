"""The official files of NATS-Bench's topology space, which is NAS-Bench-201, turned into our table.

Dong, Liu, Musial, Gabrys. NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and Size. 2021.
arXiv:2009.00437. They are read through their authors' package `nats_bench`, one architecture at a time, so memory does
not grow with the archive. They are pickles, and reading a pickle can run code: import only what you trust.
"""

from __future__ import annotations

import os
import pickle
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from automl_kd.errors import ConfigError, ResultError
from automl_kd.nasbench.table import cells
from automl_kd.nasbench.table.columns import TABLE_DATASETS, VALIDATION_LIKE, AccuracyName, parse_column
from automl_kd.nasbench.table.file import FORMAT, FORMAT_KEY, HARDWARE, TABLE_FILE, TIME, read_hardware, read_table_file
from automl_kd.results.store import parquet

ENDING = ".pickle.pbz2"
LENGTHS = ("12", "200")
"""Epochs of the official runs, as the package spells them."""

OFFICIAL = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet16": "ImageNet16-120"}
CIFAR10_HALF = "cifar10-valid"

ACCURACIES = (
    *(
        f"{dataset}_{split}_acc_{epochs}"
        for epochs in LENGTHS
        for dataset in TABLE_DATASETS
        for split in ("test", "valid")
    ),
    VALIDATION_LIKE,
    "cifar100_test_acc_200_s888",
    "imagenet16_test_acc_200_s888",
)
DAMAGE = (OSError, EOFError, pickle.UnpicklingError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What the package raises over a file that is cut short or holds something else."""


def import_archive(
    official: Path, out: Path, hardware: Path | None = None, progress: Callable[[int, int], None] = lambda *_: None
) -> tuple[Path, int]:
    """Write the table of the folder `official` to `out`, a file or folder; return its path and number of rows.

    Architectures whose file is not there are left out. `hardware`: a table of latencies by arch_index, which is checked
    and put beside. `progress` receives how many are done, and of how many. Nothing is written before everything is
    read. Raises `ConfigError` for what cannot be imported, `ResultError` for what is damaged.
    """
    target = out if out.suffix == ".parquet" else out / TABLE_FILE
    require_target(target)
    numbers = stored_numbers(official)
    if hardware is not None:
        read_hardware(hardware, np.array(numbers))
    api = opened(official)
    names = checked_names(api, official)
    records = []
    for done, number in enumerate(numbers):
        progress(done, len(numbers))
        with name_file_in_errors(official / f"{number:06d}{ENDING}"):
            records.append(cell_record(api, number, names[number]))
        api.arch2infos_dict.clear()  # the package keeps all that it read
    if hardware is not None:
        parquet.write_parquet(read_table_file(hardware, ("arch_index",)), target.with_name(HARDWARE))
    parquet.write_parquet(records_to_table(records, isomorphs(api)), target)
    return target, len(records)


def require_target(target: Path) -> None:
    ground = next(path for path in target.absolute().parents if path.exists())
    if not ground.is_dir() or not os.access(ground, os.W_OK | os.X_OK) or target.is_dir():
        raise ConfigError(f"{target} cannot be written; name another file or folder for the table")


def stored_numbers(official: Path) -> list[int]:
    """The official numbers of the architectures whose files are in the folder."""
    if official.is_file():
        raise ConfigError(
            f"{official} is one file, which can only be read as a whole; unpack the archive whose name ends in -simple "
            "and name its folder"
        )
    stems = (file.name.removesuffix(ENDING) for file in official.glob(f"*{ENDING}"))
    found = sorted({int(stem) for stem in stems if stem.isdecimal()})
    if not found or not (official / f"meta{ENDING}").is_file():
        raise ConfigError(
            f"{official} holds no official NATS-Bench files (meta{ENDING}, 000000{ENDING}, ...); unpack "
            "NATS-tss-v1_0-3ffb9-simple.tar and name its folder"
        )
    return found


def opened(official: Path) -> Any:
    try:
        from nats_bench import create  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        raise ConfigError(
            "the official files are read by the package nats_bench, which is not installed; run 'pip install "
            "nats_bench' and then the same command"
        ) from error
    with name_file_in_errors(official / f"meta{ENDING}"):
        return create(str(official), "tss", fast_mode=True, verbose=False)


@contextmanager
def name_file_in_errors(file: Path) -> Iterator[None]:
    """Whatever goes wrong in reading `file` becomes a `ResultError` that names it."""
    try:
        yield
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno:  # the system's refusal
            raise
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 150)
        raise ResultError(
            f"{file} is damaged or no file of NATS-Bench's topology space ({reason}); unpack or "
            "download the archive again"
        ) from error


def checked_names(api: Any, official: Path) -> list[str]:
    """The cells by official number, if they are those of the benchmark."""
    names = list(map(str, api.meta_archs))
    try:
        ranks = cells.lexicographic_ranks(cells.encode(names))
    except ResultError as error:
        raise ResultError(f"{official} is not the topology space: {error}") from error
    if not np.array_equal(ranks, cells.official_ranks()):
        raise ResultError(f"{official} numbers the cells otherwise than version 1.0 does; import NATS-tss-v1_0-3ffb9")
    return names


def cell_record(api: Any, number: int, name: str) -> dict[str, object]:
    """One row of the table, without isomorph_index."""
    runs = {length: api.query_meta_info_by_index(number, length) for length in LENGTHS}
    if runs["200"].arch_str != name:
        raise ValueError(f"it is of {runs['200'].arch_str}, not of {name}")
    costs = {dataset: runs["200"].get_compute_costs(key) for dataset, key in OFFICIAL.items()}
    return {
        "arch_index": number,
        "arch_str": name,
        **{one: accuracy(runs, parse_column(one)) for one in ACCURACIES},
        TIME: float(runs["12"].get_metrics(CIFAR10_HALF, "train")["all_time"]),
        **{f"{dataset}_params_m": float(cost["params"]) for dataset, cost in costs.items()},
        **{f"{dataset}_flops_m": float(cost["flops"]) for dataset, cost in costs.items()},
    }


def accuracy(runs: dict[str, Any], wanted: AccuracyName) -> float | None:
    """In percent, of one seed or averaged over all; None where that run is not in the file."""
    run = runs[str(wanted.epochs)]
    key = CIFAR10_HALF if wanted.half else OFFICIAL[wanted.dataset]
    seeds = run.dataset_seed.get(key, [])
    if not seeds or (wanted.seed is not None and wanted.seed not in seeds):
        return None
    # Of CIFAR-10 the package knows the test set as "ori-test"; of the others that is both halves together.
    test = "ori-test" if wanted.dataset == "cifar10" else "x-test"
    split = test if wanted.split == "test" else "x-valid"
    found = run.get_metrics(key, split, is_random=False if wanted.seed is None else wanted.seed)
    return float(found["accuracy"])


def isomorphs(api: Any) -> dict[int, int]:
    """For each official number the smallest that the package's rule calls the same cell."""
    first: dict[str, int] = {}
    return {number: first.setdefault(api.get_unique_str(number), number) for number in range(len(api.meta_archs))}


def records_to_table(records: list[dict[str, object]], isomorph: dict[int, int]) -> pa.Table:
    integer, text, real = pa.int32(), pa.string(), pa.float64()
    types = {"arch_index": integer, "arch_str": text, "isomorph_index": integer}
    names = ["arch_index", "arch_str", "isomorph_index", *(name for name in records[0] if name not in types)]
    schema = pa.schema([(name, types.get(name, real)) for name in names], metadata={FORMAT_KEY: FORMAT})
    rows = [one | {"isomorph_index": isomorph[int(str(one["arch_index"]))]} for one in records]
    return parquet.to_table(rows, schema)
