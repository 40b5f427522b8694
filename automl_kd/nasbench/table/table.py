"""NAS-Bench-201 as a table: accuracies, sizes, training times and latencies of its cells, without training any.

Dong, Yang. NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search. 2020. arXiv:2001.00326.
Dong, Liu, Musial, Gabrys. NATS-Bench. 2021. arXiv:2009.00437. Latencies: HW-NAS-Bench (arXiv:2103.10584), HELP
(arXiv:2106.08630) and HW-NAS-Bench-360.

Everything is an array with one entry for each row of the table, so a look-up of many architectures is one indexing.
In a whole table the row of an architecture is its official number.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from automl_kd.errors import ConfigError, ResultError, UnknownNameError
from automl_kd.files import expand
from automl_kd.nasbench.table import cells
from automl_kd.nasbench.table.columns import (
    TABLE_DATASETS,
    VALIDATION_LIKE,
    AccuracyName,
    Choosing,
    Integers,
    Reals,
    Reporting,
    Yardsticks,
    parse_column,
)
from automl_kd.nasbench.table.file import HARDWARE, TABLE_FILE, TIME, read_hardware, read_table
from automl_kd.registry import suggestion

__all__ = ["ENVIRONMENT", "VALIDATION_LIKE", "Choosing", "Reporting", "Table", "Yardsticks", "find_table"]

ENVIRONMENT = "AUTOML_KD_NASBENCH201"
LATENCY = "_latency_ms"

TRAINING_IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "imagenet16": 151_700}
HALF_IMAGES = 25_000
"""Images in an epoch. The benchmark's clock is proportional to them: over the 1,000 first architectures, and over 12
and 200 epochs, an epoch takes 2 times as long as one on CIFAR-10's half, and 6.068 times on ImageNet16-120."""


def find_table(path: Path | None = None) -> Path:
    """The table's file: at `path` (a file, or a folder with nasbench201.parquet), else at the path in the environment.

    `ConfigError` if neither leads to one.
    """
    named = path or Path(os.environ.get(ENVIRONMENT) or TABLE_FILE)
    found = expand(named / TABLE_FILE if named.is_dir() else named).absolute()
    if not found.is_file():
        raise ConfigError(
            f"there is no NAS-Bench-201 table at {found}; make one from the official files with 'automl-kd "
            f"nasbench import', or name a folder with {TABLE_FILE} by --nasbench201 or by {ENVIRONMENT}"
        )
    return found


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of a table, sorted by official number.

    `arch_index`: official numbers, 0 to 15,624. `arch_str`: the cells. `columns`: numbers as stored, by name.
    `hardware`: likewise, NaN where an architecture does not run on the device or was not measured; may be empty.
    """

    path: Path
    arch_index: Integers
    arch_str: tuple[str, ...]
    encodings: NDArray[np.uint8]
    columns: Mapping[str, Reals]
    hardware: Mapping[str, Reals]

    @classmethod
    def load(cls, path: Path | str) -> Table:
        """Read the file, or the folder's nasbench201.parquet, and nasbench201_hardware.parquet beside it if there.

        `ResultError` for what is damaged, of another version, or contradicts the benchmark's numbering.
        """
        file = find_table(Path(path))
        index, strings, encodings, columns = read_table(file)
        beside = file.with_name(HARDWARE)
        hardware = read_hardware(beside, index) if beside.is_file() else {}
        return cls(file, index, strings, encodings, columns, hardware)

    def __len__(self) -> int:
        return len(self.arch_index)

    @property
    def extent(self) -> str:
        """How much of the benchmark it holds, in words."""
        return f"{len(self):,} of {cells.CELL_COUNT:,} architectures"

    def require_whole(self, purpose: str) -> None:
        """`ResultError` unless all architectures are here. `purpose` completes "... needs all": "a search"."""
        if len(self) != cells.CELL_COUNT:
            raise ResultError(
                f"{self.path} holds {self.extent}, and {purpose} needs all; import the complete benchmark"
            )

    # --- architectures

    @cached_property
    def _row_of_string(self) -> Mapping[str, int]:
        return {text: row for row, text in enumerate(self.arch_str)}

    def index_of(self, arch_str: str) -> int:
        """The row of a cell given as string. `ResultError` if it is no cell or not in this table."""
        if (row := self._row_of_string.get(arch_str)) is not None:
            return row
        cells.encode([arch_str])
        raise ResultError(f"{arch_str!r} is not in {self.path}, which holds {self.extent}; import it too")

    def rows_of(self, arch_index: Integers) -> Integers:
        """The rows of official numbers, in the same shape. `ResultError` if one is not in this table."""
        rows = np.searchsorted(self.arch_index, arch_index)
        found = self.arch_index[np.minimum(rows, len(self) - 1)] == arch_index
        if not found.all():
            missing = np.asarray(arch_index)[~found].flat[0]
            raise ResultError(f"number {missing} is not in {self.path}, which holds {self.extent}; import it too")
        return np.asarray(rows, dtype=np.int64)

    @cached_property
    def neighbours(self) -> Integers:
        """Rows of the 24 cells that differ in one operation, shape (15625, 24). Needs a whole table."""
        self.require_whole("the list of neighbours")
        return cells.neighbour_positions(self.encodings)

    @cached_property
    def isomorph(self) -> Integers:
        """For each row the smallest official number of a cell that the standard rule calls equal."""
        return self.column("isomorph_index").astype(np.int64)

    # --- accuracies

    def choosing(self, dataset: str, epochs: int = 12) -> Choosing:
        """The validation accuracy after `epochs`, mean over the official seeds.

        `ConfigError` where the table has none: at 200 epochs, unless it was imported from the official files.
        """
        check_dataset(dataset)
        name = f"{dataset}_valid_acc_{epochs}"
        if name in self.columns:
            return self.choosing_named(name)
        hint = f"; {VALIDATION_LIKE} may stand in if named in full" if dataset == "cifar10" else ""
        raise ConfigError(
            f"{self.path} has no validation accuracy on {dataset} after {epochs} epochs for all architectures; choose "
            f"by {dataset}_valid_acc_12{hint}"
        )

    def choosing_named(self, name: str) -> Choosing:
        """An accuracy to choose by, named in full. `ConfigError` for one that is to be reported on."""
        return Choosing(*self._accuracy(name))

    def reporting(self, dataset: str, epochs: int = 200) -> Reporting:
        """The test accuracy after `epochs`, mean over the official seeds."""
        check_dataset(dataset)
        return self.reporting_named(f"{dataset}_test_acc_{epochs}")

    def reporting_named(self, name: str) -> Reporting:
        """An accuracy to report on, named in full. `ConfigError` for one that chooses."""
        return Reporting(*self._accuracy(name))

    def _accuracy(self, name: str) -> tuple[AccuracyName, Reals]:
        values = self.column(name) / 100
        values.flags.writeable = False
        return parse_column(name), values

    # --- costs

    def params(self, dataset: str) -> Reals:
        """Trainable parameters."""
        check_dataset(dataset)
        return self.column(f"{dataset}_params_m") * 1e6

    def macs(self, dataset: str) -> Reals:
        """Multiply-adds of one image, which the benchmark calls FLOPs."""
        check_dataset(dataset)
        return self.column(f"{dataset}_flops_m") * 1e6

    def seconds(self, dataset: str, epochs: float, *, half: bool = False) -> Reals:
        """One seed's training on all images of `dataset`, or on CIFAR-10's half; evaluation is not included."""
        check_dataset(dataset)
        if half and dataset != "cifar10":
            raise ConfigError(f"only cifar10 was trained on half of its images, not {dataset}; ask for all images")
        images = HALF_IMAGES if half else TRAINING_IMAGES[dataset]
        return self.column(TIME) * (epochs / 12 * images / HALF_IMAGES)

    def seconds_of(self, column: Choosing | Reporting) -> Reals:
        """One seed's training up to this accuracy, on the images that it was trained on."""
        one = column.accuracy
        return self.seconds(one.dataset, one.epochs, half=one.half)

    @property
    def devices(self) -> tuple[str, ...]:
        """What `latency_ms` knows: "hwnas_{dataset}_{device}", "help_{device}_{batch}", "edge_{device}_{framework}"."""
        return tuple(name.removesuffix(LATENCY) for name in self.hardware if name.endswith(LATENCY))

    def latency_ms(self, device: str) -> Reals:
        """Measured or, for eyeriss and fpga, modelled latency; NaN for architectures that do not run on the device."""
        if not self.hardware:
            raise ConfigError(f"there is no {HARDWARE} beside {self.path}, so no latency is known; put it there")
        if device not in self.devices:
            raise UnknownNameError(f"no device is called {device!r}; {suggestion(device, self.devices)}")
        return self.hardware[device + LATENCY]

    def column(self, name: str) -> Reals:
        """A column as stored, in the unit of its name. `UnknownNameError` if there is none of this name."""
        if name not in self.columns:
            raise UnknownNameError(f"{self.path} has no column {name!r}; {suggestion(name, self.columns)}")
        return self.columns[name]


def check_dataset(dataset: str) -> None:
    """`UnknownNameError` unless the benchmark has it."""
    if dataset not in TABLE_DATASETS:
        raise UnknownNameError(f"NAS-Bench-201 has no dataset {dataset!r}; {suggestion(dataset, TABLE_DATASETS)}")
