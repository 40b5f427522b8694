"""An experiment as typed records, and its strict reading from TOML.

Every field has a type, most a default; an unknown key, a wrong type or a value out of range is a `ConfigError` whose
one sentence names the key. `Experiment(...)` and `dataclasses.replace` work in Python without any file.
"""

from automl_kd.config.comparison import ComparisonSection, MethodEntry
from automl_kd.config.experiment import Experiment, Knob
from automl_kd.config.proxy import FormulaSearch, ProxySearch
from automl_kd.config.range import Range
from automl_kd.config.reading import load_experiment, loads, merge, parse_record, to_record
from automl_kd.config.sections import (
    CHOICE_SEEDS,
    POPULATIONS,
    SEARCH_SEEDS,
    SEEDS,
    Budget,
    Finalists,
    Resources,
    SearchSection,
)
from automl_kd.config.tabular import (
    SIZE_COLUMNS,
    SamplerRun,
    ScoreSource,
    TableSearch,
    TableTask,
    Tradeoff,
    TrainingFree,
)

__all__ = [
    "CHOICE_SEEDS",
    "POPULATIONS",
    "SEARCH_SEEDS",
    "SEEDS",
    "SIZE_COLUMNS",
    "Budget",
    "ComparisonSection",
    "Experiment",
    "Finalists",
    "FormulaSearch",
    "Knob",
    "MethodEntry",
    "ProxySearch",
    "Range",
    "Resources",
    "SamplerRun",
    "ScoreSource",
    "SearchSection",
    "TableSearch",
    "TableTask",
    "Tradeoff",
    "TrainingFree",
    "load_experiment",
    "loads",
    "merge",
    "parse_record",
    "to_record",
]
