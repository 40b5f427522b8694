"""Students of the comparison, exported and timed on this machine when all trainings have ended."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from automl_kd.config.recipe_names import NoteSentence
from automl_kd.errors import AutoMLKDError
from automl_kd.export import ComparisonText, Subject
from automl_kd.export.graphs import make_graph, trace_program, write_onnx
from automl_kd.profiling import open_sizes
from automl_kd.profiling.measure import measure_graph

PASS_SECONDS = 1.0
"""Of passes for each student."""


def time_students(trials: Mapping[str, Path], data_root: Path, threads: int, note: NoteSentence) -> dict[str, float]:
    """Median milliseconds of a pass of one image or text through the student of each trial, in ONNX Runtime.

    `trials`: folders by the id of an architecture, as is what is returned. A student that cannot be exported is noted,
    and left out.
    """
    found = {}
    for architecture_id, folder in trials.items():
        try:
            found[architecture_id] = time_student(folder, data_root, threads)
        except AutoMLKDError as error:
            note(f"the latency of {architecture_id} was not measured: {error}")
    return found


def time_student(folder: Path, data_root: Path, threads: int) -> float:
    subject = Subject.load(folder, data_root, row={}, standing=ComparisonText(), trusted=True)
    shape = subject.input.shape
    program = trace_program(make_graph(subject.student, shape), shape)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "student.onnx"
        write_onnx(program, file, names=subject.input.names)
        return float(measure_graph(file, threads, PASS_SECONDS, open_sizes(shape))["median_ms"])
