"""Files that an experiment names by a relative path: they lie beside it, wherever the command is typed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from automl_kd.config.comparison import MethodEntry
from automl_kd.config.experiment import Experiment
from automl_kd.errors import ConfigError
from automl_kd.spec import DataSpec

DATA_FORMS = frozenset({"folder", "shards", "parquet", "pack", "arrays", "text"})
"""What stands before the path of one's own data."""

FILE_OPTIONS = frozenset({"loss", "process"})
"""Options of methods that are files."""

FIRST_SHARD = re.compile(r"\{(\d+)\.\.\d+\}")
"""In a pattern of shards."""


def locate(name: str, folder: Path, key: str, *, needed: bool = True) -> str:
    """The absolute path of the file that the experiment in `folder` calls `name`.

    Where it is not there, the current folder is looked into. `ConfigError`, which says where was looked, if it is in
    neither, or another file in each. What is not `needed` yet has its place in `folder`. An absolute path, an address
    in a bucket and an empty name come back as they are.
    """
    if not name or "://" in name or name.startswith("~") or "\0" in name or Path(name).is_absolute():
        return name  # whether it is a path at all, its reader says
    places = list(dict.fromkeys(path.resolve() / name for path in (folder, Path())))
    found = [path for path in places if path.exists()]
    if not found:
        if not needed:
            return str(places[0])
        looked = " nor ".join(map(str, places))
        raise ConfigError(
            f"{key} = {name!r} names no file: there is no {looked}; give its path from {folder.resolve()}"
        )
    if len(found) == 2 and not found[0].samefile(found[1]):
        raise ConfigError(f"{key} = {name!r} may be {found[0]} or {found[1]}; give the absolute path of one")
    return str(found[0])


def with_data_and_options(experiment: Experiment, folder: Path) -> Experiment:
    """The experiment of a file in `folder` with its data, and files among its options, where `here_or_beside` has them.

    Unlike other files these were looked for in the current folder alone, so there they are taken without a question.
    """
    compared = tuple(method_beside(one, folder) for one in experiment.comparison.methods)
    return replace(
        experiment,
        data=data_beside(experiment.data, folder),
        options=options_beside(experiment.options, folder),
        hyperparameters=options_beside(experiment.hyperparameters, folder),
        comparison=replace(experiment.comparison, methods=compared),
    )


def data_beside(data: DataSpec, folder: Path) -> DataSpec:
    places: dict[str, Any] = {}
    for field in ("name", "unlabelled"):
        form, colon, path = getattr(data, field).partition(":")
        found = here_or_beside(path, folder) if form in DATA_FORMS else path
        places[field] = f"{form}{colon}{found}"
    return replace(data, **places, tokenizer=here_or_beside(data.tokenizer, folder))


def method_beside(entry: MethodEntry, folder: Path) -> MethodEntry:
    return replace(entry, options=options_beside(entry.options, folder), grid=options_beside(entry.grid, folder))


def options_beside(options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Options, or several values of each."""

    def settled(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(map(settled, value))
        return here_or_beside(value, folder) if isinstance(value, str) else value

    return {name: settled(value) if name in FILE_OPTIONS else value for name, value in options.items()}


def here_or_beside(name: str, folder: Path) -> str:
    """`name`, unless it is a relative path to nothing here and to something in `folder`; that place then."""
    if not name or "://" in name or name.startswith("~") or "\0" in name or Path(name).is_absolute():
        return name
    first = FIRST_SHARD.sub(r"\1", name)
    try:
        beside = not Path(first).exists() and (folder / first).exists()
    except OSError:  # too long; its reader says so
        return name
    return str(folder.resolve() / name) if beside else name
