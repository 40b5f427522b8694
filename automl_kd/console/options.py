"""Options that several commands share, and how they are resolved."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from automl_kd import storage
from automl_kd.errors import ConfigError

if TYPE_CHECKING:
    from automl_kd.experiment.context import Roots

OF_A_JOB = "working_dir_files"
"""In Ray's temporary folders, where it unpacks the working directory of a job."""

Out = Annotated[
    str,
    typer.Option(
        "--out",
        envvar="AUTOML_KD_RESULTS",
        help="Root of all results: a folder, s3://BUCKET/PREFIX or gs://...; each experiment has a folder in it.",
    ),
]
DataRoot = Annotated[
    str,
    typer.Option(
        "--data-root",
        envvar="AUTOML_KD_DATA",
        help="Root of CIFAR and other stored datasets: a folder, s3://BUCKET/PREFIX or gs://...",
    ),
]
Address = Annotated[
    str,
    typer.Option(
        "--address",
        help="Ray cluster to join ('auto' on one of its nodes); the default is RAY_ADDRESS, else this machine.",
    ),
]
AcceptTeacher = Annotated[
    bool,
    typer.Option("--accept-teacher", help="Go on although the teacher does better under another preprocessing."),
]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Set one field of the experiment; may be repeated.")
]


def roots(out: str, data_root: str) -> Roots:
    """Return the roots of results and data; raise `ConfigError` for results that would be lost with a job's folder."""
    from automl_kd.experiment.context import Roots  # noqa: PLC0415 - torch is slow to import

    results = storage.local_path(out).absolute()
    if OF_A_JOB in results.parts:
        raise ConfigError(
            f"--out is {out!r}, and Ray deletes the folder of a job that it would lie in; give a folder that all nodes "
            "see by its absolute path, or s3://BUCKET/PREFIX"
        )
    return Roots(results=results, data=storage.local_path(data_root).absolute())


def command_line() -> str:
    return shlex.join(["automl-kd", *sys.argv[1:]])
