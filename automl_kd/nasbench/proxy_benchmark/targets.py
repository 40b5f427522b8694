"""The targets of the proxy benchmark: NAS-Bench-201, and the 64 students of DisWOT's S1 space.

S1: Dong, Li, Wei. DisWOT. 2023. arXiv:2303.15678; its authors publish CIFAR-100 accuracies of all 64 residual networks
with and without a teacher. All accuracies here are test accuracies, to be reported on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from automl_kd.nasbench.proxy_benchmark.benchmark import Target
from automl_kd.nasbench.proxy_benchmark.scores import Reals, sizes
from automl_kd.nasbench.table.columns import TABLE_DATASETS
from automl_kd.nasbench.table.table import Table
from automl_kd.results.store import parquet

TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16": "ImageNet16-120"}
DEVICE = "hwnas_{dataset}_raspi4"
S1_SCHEMA = pa.schema([("arch", pa.string()), ("kd_acc", pa.float64()), ("cls_acc", pa.float64())])
S1_TARGETS = {"kd_acc": "S1 on CIFAR-100, distilled", "cls_acc": "S1 on CIFAR-100, without a teacher"}


def of_table(table: Table, devices: Sequence[str] | None = None) -> list[Target]:
    """Test accuracy after 200 epochs, mean over the official seeds, on each dataset.

    `devices`: whose latencies are budgets, as `Table.devices` names them, with "{dataset}" in them filled in; if None,
    `DEVICE` where the table has latencies.
    """
    named = devices if devices is not None else (DEVICE,) if table.hardware else ()
    return [
        Target(
            title=f"NAS-Bench-201, {TITLES[dataset]}",
            dataset=dataset,
            column=table.reporting(dataset).name,
            labels=table.arch_str,
            accuracy=table.reporting(dataset).values,
            costs={
                "params": table.params(dataset),
                "macs": table.macs(dataset),
                **latencies(table, [name.replace("{dataset}", dataset) for name in named]),
            },
        )
        for dataset in TABLE_DATASETS
    ]


def latencies(table: Table, devices: Sequence[str]) -> dict[str, Reals]:
    return {f"{device}_latency_ms": table.latency_ms(device) for device in devices}


def of_s1(path: Path, scores: pd.DataFrame) -> list[Target]:
    """CIFAR-100 accuracy with a teacher and without, from the file at `path`: `arch` ("357"), `kd_acc`, `cls_acc`.

    Labels are those of the scored space, "3-5-7"; sizes are taken from `scores`. `ResultError` for another file.
    """
    frame = parquet.to_frame(parquet.load_parquet(path, S1_SCHEMA, S1_SCHEMA.names))
    labels = ["-".join(depths) for depths in frame["arch"]]
    params, macs = sizes(scores, labels)
    return [
        Target(
            title=title,
            dataset="cifar100",
            column=column,
            labels=labels,
            accuracy=frame[column].to_numpy(dtype=np.float64) / 100,
            costs={"params": params, "macs": macs},
        )
        for column, title in S1_TARGETS.items()
    ]
