"""A made-up NAS-Bench-201 table of the whole space with scores beside it, and an experiment on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from automl_kd.config import loads
from automl_kd.nasbench.config import KINDS, TableExperiment
from automl_kd.nasbench.table import cells

TEXT = """
name = "mine"
space = "search_spaces.nasbench201:SPACE"

[table]
seeds = 6
trials = 20
compare = [5, 20]

[[table.tasks]]
name = "cifar10"
choose = "cifar10_trainhalf_test_acc_200_s888"
early = "cifar10_valid_acc_12"
report = "cifar10_test_acc_200"
hours = [0.1, 0.5]

[[table.tasks]]
name = "cifar100"
choose = "cifar100_valid_acc_12"
report = "cifar100_test_acc_200"
hours = [0.01, 0.05]

[[table.runs]]
sampler = "random"

[[table.runs]]
sampler = "random"
proxy_filter = "good"
pool = 5

[[table.runs]]
sampler = "asha"
trials = 40

[table.scores.good]
file = "scores.parquet"
seconds = "time"

[table.training_free]
scores = ["good", "params", "random"]
trials = 60
top = 3

[table.tradeoff]
devices = ["help_phone"]
samplers = ["random", "nsga2"]
trials = 20
"""


def read_table_text(text: str = TEXT, *overrides: str) -> TableExperiment:
    experiment = loads(text, overrides, kinds=KINDS)
    assert isinstance(experiment, TableExperiment)
    return experiment


def strings() -> list[str]:
    found = []
    for rank in cells.official_ranks():
        ops = [cells.OPERATIONS[(rank // weight) % len(cells.OPERATIONS)] for weight in cells.PLACE_VALUES]
        found.append("|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*ops))
    return found


def make_table(folder: Path) -> Path:
    """A whole table whose accuracies are mostly the number of 3x3 convolutions, latencies and scores, in `folder`."""
    arch_str, rng = strings(), np.random.default_rng(0)
    size = len(arch_str)
    truth = 50 + 5.0 * np.array([text.count("3x3~") for text in arch_str])
    made = {"arch_index": np.arange(size), "arch_str": arch_str, "cifar10_trainhalf_train_time_12_s": 6.0}
    for dataset in ("cifar10", "cifar100", "imagenet16"):
        for name in ("valid_acc_12", "test_acc_200"):
            made[f"{dataset}_{name}"] = truth + rng.standard_normal(size)
        made[f"{dataset}_params_m"] = 0.1 + 0.1 * np.array([text.count("nor_conv") for text in arch_str])
        made[f"{dataset}_flops_m"] = 10.0 + np.array([text.count("3x3~") for text in arch_str])
    made["cifar10_trainhalf_test_acc_200_s888"] = truth + rng.standard_normal(size)
    pd.DataFrame(made).to_parquet(folder / "nasbench201.parquet")
    latency = {"arch_index": np.arange(size), "help_phone_latency_ms": 1 + rng.random(size)}
    pd.DataFrame(latency).to_parquet(folder / "nasbench201_hardware.parquet")
    scores = {"arch_index": np.arange(size), "good": truth + 2 * rng.standard_normal(size), "time": 0.5}
    pd.DataFrame(scores).to_parquet(folder / "scores.parquet")
    return folder
