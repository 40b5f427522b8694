"""The command line run in this process: its exit code, what it printed, and what it left on disk."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from automl_kd.cli import main
from automl_kd.registry import BESIDE


class Ran(NamedTuple):
    code: object
    out: str
    err: str


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: the content of files, None for folders; but for what Python keeps of modules."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


@pytest.fixture
def run(tmp_path, monkeypatch, capsys) -> Callable[..., Ran]:
    """Runs `automl-kd ARGUMENTS` in an empty working directory; results go below it unless told otherwise."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv(BESIDE, "")  # the command sets it, for processes that it starts
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("AUTOML_KD_RESULTS", "AUTOML_KD_DATA", "RAY_ADDRESS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def automl_kd(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["automl-kd", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return Ran(code or 0, printed.out, printed.err)

    return automl_kd


@pytest.fixture
def refused(run: Callable[..., Ran], tmp_path: Path) -> Callable[..., str]:
    """Runs what must be refused: code 2, one sentence on stderr, nothing on stdout or on disk. Gives the sentence."""

    def check(*arguments: str) -> str:
        before = tree(tmp_path)
        code, out, err = run(*arguments)
        assert code == 2, err
        assert out == ""
        *progress, last = err.splitlines()
        assert last.startswith("automl-kd: ")
        assert not any("automl-kd" in line or "Traceback" in line for line in progress)
        assert "\x1b" not in err
        assert tree(tmp_path) == before
        return last.removeprefix("automl-kd: ")

    return check


@pytest.fixture
def no_space(monkeypatch) -> None:
    """Every file turns out not to fit when it is synced."""

    def fsync(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
