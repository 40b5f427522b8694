"""Options that the commands on NAS-Bench-201 share, and the check that an experiment fits its command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from automl_kd import config
from automl_kd.cli import catalogue
from automl_kd.config import Experiment
from automl_kd.errors import ConfigError
from automl_kd.registry import search_beside

TablePath = Annotated[
    Path | None,
    typer.Option(
        "--nasbench201", help="The table, or its folder; the default is AUTOML_KD_NASBENCH201.", metavar="PATH"
    ),
]
ExperimentFile = Annotated[Path, typer.Argument(help="A TOML file.", metavar="FILE")]


def read_experiment(path: Path, overrides: list[str], command: str) -> Experiment:
    """Read the experiment in a file; raise `ConfigError` if it belongs to another command than `command`."""
    search_beside(path.parent, Path())
    experiment = config.load_experiment(path, overrides)
    catalogue.require_space(experiment.space)
    require_command(experiment, path, command)
    return experiment


def require_command(experiment: Experiment, path: Path, command: str) -> None:
    """Raise `ConfigError` for an experiment that `command` cannot run."""
    sections = {"nasbench search": experiment.table.tasks, "nasbench proxy-search": experiment.proxy.scores}
    wanted = next((name for name, section in sections.items() if section), "search")
    if wanted != command:
        raise ConfigError(
            f"{path} is not an experiment for 'automl-kd {command}'; run: automl-kd {wanted} {shlex.quote(str(path))}"
        )
