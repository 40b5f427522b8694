"""Carrying out a case in this process, and what is asked of its end."""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import automl_kd.experiment
from automl_kd.cli import main
from automl_kd.config import Resources
from automl_kd.registry import BESIDE
from tests.fuzz.cases import Case

SECONDS = 60
"""What a case may take: it takes a tenth of a second, and the machine may be busy."""


class Started(BaseException):
    """A search got past all that could be refused, and would start Ray."""


class Waited(BaseException):
    """A case took longer than it may."""


def fault_of(case: Case) -> str:
    """What is wrong with how a case ends; empty if nothing is."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as made:
        folder = Path(made).resolve() / "here"
        folder.mkdir()
        arguments = case.arguments(folder)
        before = names(folder.parent)
        code, err = run(folder, arguments)
        told = f"{case.name}: automl-kd {' '.join(arguments)[:300]!r}: "
        if code not in {0, 1, 2, "started"}:
            return f"{told}ended with {code}\n{err}"
        last = err.splitlines()[-1] if err else ""
        if code == 2 and not (last.startswith("automl-kd: ") and last.count("automl-kd: ") == 1 and len(last) > 20):
            return f"{told}said no sentence but {err!r}"
        new = names(folder.parent) - before
        return f"{told}left {sorted(new)}" if new and not case.writes else ""


def names(folder: Path) -> set[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*"))
    return {str(path) for path in found if "__pycache__" not in path.parts}


def run(folder: Path, arguments: list[str]) -> tuple[object, str]:
    """Exit code, or how else it ended, and what was said on stderr."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with alone(folder, arguments), redirect_stdout(out), redirect_stderr(err), limited():
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        except Started:
            code = "started"
        except BaseException:  # what a user would see as a traceback
            code = traceback.format_exc(limit=-6)
    return code, err.getvalue()


@contextmanager
def alone(folder: Path, arguments: list[str]) -> Iterator[None]:
    """In `folder`, without the variables that lead elsewhere; the path and the variables are put back."""

    def session(_address: str = "", _resources: Resources | None = None) -> None:
        raise Started

    ours = {name: value for name, value in os.environ.items() if not name.startswith(("AUTOML_KD_", "RAY_"))}
    with (
        chdir(folder),
        patch.dict(os.environ, {**ours, "COLUMNS": "100", BESIDE: ""}, clear=True),
        patch.object(sys, "argv", ["automl-kd", *arguments]),
        patch.object(sys, "path", [*sys.path]),
        patch.object(automl_kd.experiment, "session", session),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # a user is warned, and the command goes on
        yield


@contextmanager
def limited() -> Iterator[None]:
    def late(*_: object) -> None:
        raise Waited

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
