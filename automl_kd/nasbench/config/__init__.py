"""Experiments on NAS-Bench-201, as typed records beside those of the core."""

from collections.abc import Mapping

from automl_kd.nasbench.config.proxy import FormulaSearch, ProxyExperiment, ProxySearch
from automl_kd.nasbench.config.table_search import (
    SIZE_COLUMNS,
    SamplerRun,
    ScoreSource,
    TableExperiment,
    TableSearch,
    TableTask,
    Tradeoff,
    TrainingFree,
)

__all__ = [
    "KINDS",
    "SIZE_COLUMNS",
    "FormulaSearch",
    "ProxyExperiment",
    "ProxySearch",
    "SamplerRun",
    "ScoreSource",
    "TableExperiment",
    "TableSearch",
    "TableTask",
    "Tradeoff",
    "TrainingFree",
]

KINDS: Mapping[str, type[TableExperiment | ProxyExperiment]] = {"table": TableExperiment, "proxy": ProxyExperiment}
"""The record of each kind of experiment, by the section that tells it from others."""
