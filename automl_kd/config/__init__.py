"""An experiment as typed records, and its strict reading from TOML.

Every field has a type, most a default; an unknown key, a wrong type or a value out of range is a `ConfigError` whose
one sentence names the key. `Experiment(...)` and `dataclasses.replace` work in Python without any file.
"""

from automl_kd.config.comparison import ComparisonSection, MethodEntry
from automl_kd.config.earlier.stored import add_new_fields
from automl_kd.config.experiment import Experiment, HyperparameterDomain, make_name, require_name, require_seed
from automl_kd.config.published import PublishedFigure
from automl_kd.config.range import Range
from automl_kd.config.reading import complete_record, load_experiment, loads, merge, parse_record, to_record, with_inits
from automl_kd.config.sections import (
    CHOICE_SEEDS,
    POPULATIONS,
    SEARCH_SEEDS,
    SEEDS,
    Budget,
    ExportSection,
    Finalists,
    Resources,
    SearchSection,
    StudentSection,
)
from automl_kd.config.stand_in import StandInSection, stand_in_changes
from automl_kd.config.writing import write_commented

__all__ = [
    "CHOICE_SEEDS",
    "POPULATIONS",
    "SEARCH_SEEDS",
    "SEEDS",
    "Budget",
    "ComparisonSection",
    "Experiment",
    "ExportSection",
    "Finalists",
    "HyperparameterDomain",
    "MethodEntry",
    "PublishedFigure",
    "Range",
    "Resources",
    "SearchSection",
    "StandInSection",
    "StudentSection",
    "add_new_fields",
    "complete_record",
    "load_experiment",
    "loads",
    "make_name",
    "merge",
    "parse_record",
    "require_name",
    "require_seed",
    "stand_in_changes",
    "to_record",
    "with_inits",
    "write_commented",
]
