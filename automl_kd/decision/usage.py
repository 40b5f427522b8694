"""How the student is loaded: the lines of Python that a page shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from automl_kd import files, storage
from automl_kd.data import TEXTS
from automl_kd.decision.networks import ShownTrial
from automl_kd.errors import FileError, ResultError
from automl_kd.export import StudentInput, TextInput
from automl_kd.export.folder import EXPERIMENT_FILE, ONNX, PREPROCESSING

EXPORTED = """import automl_kd
student = automl_kd.load_student({folder})
label = student.labels[int(student(student.preprocess({one})).argmax())]  # {note}"""

BEST = """import automl_kd, pathlib
best = automl_kd.Result(pathlib.Path({experiment}), pathlib.Path({data})).best
answer = int(best.student(best.preprocess({one})).argmax())  # {note}"""

TRAINED = """import automl_kd
student = automl_kd.load_student({folder})
answers = student(images).argmax(1)  # images: {images}"""

ONNX_LINES = """import onnxruntime
session = onnxruntime.InferenceSession({file})
(outputs,) = session.run(None, {{{feed}}})  # {takes}"""


def loading_lines(trial: ShownTrial | None, export_folder: Path | None, data_root: Path, *, best: bool) -> str:
    """Three lines of Python; empty where there is no student to load.

    `best`: whether the trial is the one that the experiment ended with.
    """
    kind = TextInput if trial is not None and trial.spec.data.name.startswith(TEXTS) else StudentInput
    example = {"one": kind.example_name, "note": kind.example_note}
    if export_folder is not None:
        return EXPORTED.format(folder=quote_place(export_folder), **example)
    if trial is None:
        return ""
    if best:
        experiment = trial.folder.parent.parent
        return BEST.format(experiment=quote_place(experiment), data=quote_place(data_root), **example)
    if kind is TextInput:
        return TRAINED.format(folder=quote_place(trial.folder), images="tokens int64 (n, length)")
    size = trial.spec.data.resolution
    images = f"float32 (n, channels, {size}, {size})" if size else "float32 (n, channels, height, width)"
    return TRAINED.format(folder=quote_place(trial.folder), images=f"{images}, normalised as in training")


def onnx_lines(export_folder: Path | None) -> str:
    """Three lines for ONNX Runtime; empty without such a file."""
    if export_folder is None or not (export_folder / ONNX).exists():
        return ""
    described = read_export_record(export_folder, PREPROCESSING)
    kind = TextInput if "max_length" in described else StudentInput
    feed = ", ".join(f'"{name}": {name}' for name in kind.names)
    takes = described.get("graphs", "as the graph takes them")
    return ONNX_LINES.format(file=quote_place(export_folder / ONNX), feed=feed, takes=takes)


def read_export_record(export_folder: Path, name: str) -> dict[str, Any]:
    """What a JSON file of an export holds; `ResultError` if it is damaged or not there."""
    try:
        found: dict[str, Any] = dict(files.read_json(export_folder / name))
    except (FileError, ValueError, TypeError) as error:
        raise ResultError(
            f"{export_folder / name} is no record of an export ({error}); export the student again"
        ) from error
    return found


def quote_place(path: Path) -> str:
    """As Python text, the address of what is in a bucket."""
    return json.dumps(storage.address(path), ensure_ascii=False)


def repeating_commands(commands: tuple[str, ...], export_folder: Path | None) -> list[tuple[str, str]]:
    """Each command with what it does. `commands`: those that made the results."""
    found = [("repeats all of it", one) for one in commands]
    if export_folder is not None and (export_folder / EXPERIMENT_FILE).exists():
        place = storage.address(export_folder / EXPERIMENT_FILE)
        found.append(("trains the student again, without the search", f"automl-kd search {place}"))
    return found
