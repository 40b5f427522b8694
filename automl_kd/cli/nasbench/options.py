"""Options that the commands on NAS-Bench-201 share, and the check that an experiment fits its command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from automl_kd import config
from automl_kd.cli import catalogue
from automl_kd.config import Experiment
from automl_kd.errors import ConfigError
from automl_kd.nasbench.config import KINDS, ProxyExperiment, TableExperiment
from automl_kd.registry import search_beside

AnyExperiment = Experiment | TableExperiment | ProxyExperiment

TablePath = Annotated[
    Path | None,
    typer.Option(
        "--nasbench201", help="The table, or its folder; the default is AUTOML_KD_NASBENCH201.", metavar="PATH"
    ),
]
ExperimentFile = Annotated[Path, typer.Argument(help="A TOML file.", metavar="FILE")]


COMMANDS: Mapping[type[Any], str] = {TableExperiment: "nasbench search", ProxyExperiment: "nasbench proxy-search"}
"""The command of each kind of experiment; 'search' runs any other."""


def read_table_experiment(path: Path, overrides: list[str]) -> TableExperiment:
    experiment = read_experiment(path, overrides)
    if not isinstance(experiment, TableExperiment):
        refuse_kind(experiment, path, COMMANDS[TableExperiment])
    return experiment


def read_proxy_experiment(path: Path, overrides: list[str]) -> ProxyExperiment:
    experiment = read_experiment(path, overrides)
    if not isinstance(experiment, ProxyExperiment):
        refuse_kind(experiment, path, COMMANDS[ProxyExperiment])
    return experiment


def say_aloud(sentence: str) -> None:
    typer.echo(sentence, err=True)


def read_experiment(path: Path, overrides: list[str]) -> AnyExperiment:
    """Read the experiment of any kind in a file, and check that its space exists."""
    search_beside(path.parent, Path())
    experiment = config.load_experiment(path, overrides, KINDS, say=say_aloud)
    catalogue.require_space(experiment.space)
    return experiment


def refuse_kind(experiment: AnyExperiment, path: Path, command: str) -> NoReturn:
    """Raise `ConfigError`: another command than `command` runs such an experiment."""
    wanted = COMMANDS.get(type(experiment), "search")
    raise ConfigError(
        f"{path} is not an experiment for 'automl-kd {command}'; run: automl-kd {wanted} {shlex.quote(str(path))}"
    )
