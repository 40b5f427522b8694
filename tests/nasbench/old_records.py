"""The experiment.json of each kind on NAS-Bench-201, as an earlier release wrote it: with the sections of all kinds."""

from __future__ import annotations

import json
from typing import Any

CORE = """
{"method": "kd", "options": {}, "vary": {}, "data": {"name": "digits", "train_images": 0, "validation": 0.1,
"split_seed": 0, "resolution": 0, "max_value": 0.0, "digest": ""}, "teacher": {"model": "resnet56", "checkpoint": "",
"digest": "", "recipe": {"epochs": 30, "batch_size": 64, "optimiser": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov":
true, "weight_decay": 0.0005, "schedule": "cosine", "milestones": [0.625, 0.75, 0.875], "gamma": 0.1, "warmup": 0.0,
"label_smoothing": 0.0, "clip_norm": 0.0, "amp": true, "channels_last": true, "augment": "auto", "accumulate": 1,
"norm_shards": 1}, "seed": 0, "outputs": "exact", "weights": ""}, "recipe": {"epochs": 30, "batch_size": 64,
"optimiser": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": true, "weight_decay": 0.0005, "schedule": "cosine",
"milestones": [0.625, 0.75, 0.875], "gamma": 0.1, "warmup": 0.0, "label_smoothing": 0.0, "clip_norm": 0.0, "amp":
true, "channels_last": true, "augment": "auto", "accumulate": 1, "norm_shards": 1}, "budget": {"params": 0, "macs": 0,
"latency_ms": 0.0}, "search": {"proposer": "evolution", "options": {}, "trials": 12, "objectives": ["val_accuracy"],
"screen": [], "pool": 20, "probe_images": 64, "draws": 1, "scheduler": "asha", "grace_epochs": 1, "reduction": 3.0,
"median_trials": 3, "interval": 5, "quantile": 0.25, "resample": 0.25, "perturb": {}}, "trial": {"device": "auto",
"cpus": 1, "gpus": 1.0, "concurrent": 0, "wait_minutes": 20.0, "retries": 2, "workers": 1, "placement": "pack",
"timeout_minutes": 0.0, "retry_failed": false, "loggers": []}, "bank": {"keep": "auto", "limit_gb": 10.0},
"finalists": {"seeds": [0, 1, 2], "count": 3, "epochs": 0, "baseline": {}}, "contest": {"reference": "kd",
"contenders": [], "tuning": 0.5, "tuning_seeds": 1}}
"""
TABLE = """
{"seeds": 2, "queries": 10, "compare": [5, 10], "tasks": [{"name": "cifar10", "choose": "cifar10_valid_acc_12",
"early": "", "report": "cifar10_test_acc_200", "hours": [0.1]}], "runs": [{"kind": "random", "name": "", "options":
{}, "screen": "", "pool": 20, "warm": "", "warm_count": 10, "warm_sample": 1000, "tries": 8, "queries": 0, "seeds": 0,
"hours": 0.0}, {"kind": "random", "name": "", "options": {}, "screen": "params", "pool": 20, "warm": "", "warm_count":
10, "warm_sample": 1000, "tries": 8, "queries": 0, "seeds": 0, "hours": 0.0}], "scores": {}, "untrained": {"scores":
[], "queries": 60, "population": 36, "tournament": 8, "parents": 1, "top": 5}, "tradeoff": {"devices": [],
"searchers": ["random", "nsga2", "scalarised"], "queries": 300, "screen": "", "pool": 20, "points": 10.0}}
"""
EMPTY_TABLE = """
{"seeds": 200, "queries": 300, "compare": [30, 100, 300], "tasks": [], "runs": [], "scores": {}, "untrained":
{"scores": [], "queries": 1000, "population": 36, "tournament": 8, "parents": 1, "top": 5}, "tradeoff": {"devices":
[], "searchers": ["random", "nsga2", "scalarised"], "queries": 300, "screen": "", "pool": 20, "points": 10.0}}
"""
PROXY = """
{"scores": "scored", "dataset": "", "statistics": [], "without": [], "choose": "cifar10_valid_acc_12", "labels": 50,
"evaluations": 20, "terms": 2, "members": 3, "penalty": 0.0, "searches": [{"proposer": "random", "name": "", "seeds":
1, "evaluations": 0, "options": {}, "batch": 1, "memory": 0}], "compare_labels": [], "s1": "", "s1_scores": ""}
"""
EMPTY_PROXY = """
{"scores": "", "dataset": "", "statistics": [], "without": [], "choose": "", "labels": 1000, "evaluations": 2000,
"terms": 5, "members": 6, "penalty": 0.0, "searches": [], "compare_labels": [], "s1": "", "s1_scores": ""}
"""


def old_core_record() -> dict[str, Any]:
    """Of a search with nothing but defaults."""
    return compose_record("mine", "search_spaces.nasbench201:SPACE", 0, EMPTY_TABLE, EMPTY_PROXY)


def old_table_record() -> dict[str, Any]:
    return compose_record("mine", "search_spaces.nasbench201:SPACE", 3, TABLE, EMPTY_PROXY)


def old_proxy_record() -> dict[str, Any]:
    return compose_record("formulas", "a:CELLS", 0, EMPTY_TABLE, PROXY)


def compose_record(name: str, space: str, seed: int, table: str, proxy: str) -> dict[str, Any]:
    sections = {"table": json.loads(table), "proxy": json.loads(proxy)}
    return {"name": name, "space": space, "seed": seed, **json.loads(CORE), **sections}
