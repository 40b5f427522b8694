"""Measures a prepared folder on this machine: its measure.py, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from automl_kd.errors import ExportError
from automl_kd.models.foreign.packages import library
from automl_kd.profiling.preparing import MEASURED, PROGRAM

DONE = re.compile(r"(\d+)/(\d+) (\S+)\n")


def measure_folder(folder: Path, notify: Callable[[int, int, str], None]) -> Path:
    """Run the folder's program, or go on where it was ended; the path of what it measured.

    `notify(done, total, file)`: told of every graph. Not in this process, whose threads would run beside it. A stop of
    this process ends that one. `ExportError` if it fails.
    """
    library("onnxruntime", "onnx")
    command = [sys.executable, str(folder / PROGRAM), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            for line in process.stdout:
                if found := DONE.fullmatch(line):
                    notify(int(found[1]), int(found[2]), found[3])
            errors = process.stderr.read()
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        last = next((line for line in reversed(errors.splitlines()) if line.strip()), "no reason was given")
        raise ExportError(
            f"measuring {folder} failed with exit code {process.returncode} ({last[:200]}); run "
            f"python {folder / PROGRAM} for all of it"
        )
    return folder / MEASURED
