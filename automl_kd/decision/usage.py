"""How the student is loaded: the lines of Python that a page shows."""

from __future__ import annotations

import json
from pathlib import Path

from automl_kd import storage
from automl_kd.decision.networks import ShownTrial
from automl_kd.export.folder import EXPERIMENT_FILE, ONNX, PREPROCESSING

EXPORTED = """import automl_kd
student = automl_kd.load_student({folder})
label = student.labels[int(student(student.preprocess(picture)).argmax())]  # picture: of PIL"""

TRAINED = """import automl_kd
student = automl_kd.load_student({folder})
answers = student(images).argmax(1)  # images: {images}"""

ONNX_LINES = """import onnxruntime
session = onnxruntime.InferenceSession({file})
(outputs,) = session.run(None, {{"images": images}})  # images: {images}"""


def loading_lines(trial: ShownTrial | None, export_folder: Path | None) -> str:
    """Three lines of Python; empty where there is no student to load."""
    if export_folder is not None:
        return EXPORTED.format(folder=quote_place(export_folder))
    if trial is None:
        return ""
    size = trial.spec.data.resolution
    images = f"float32 (n, channels, {size}, {size})" if size else "float32 (n, channels, height, width)"
    return TRAINED.format(folder=quote_place(trial.folder), images=f"{images}, normalised as in training")


def onnx_lines(export_folder: Path | None) -> str:
    """Three lines for ONNX Runtime; empty without such a file."""
    if export_folder is None or not (export_folder / ONNX).exists():
        return ""
    described = json.loads((export_folder / PREPROCESSING).read_text(encoding="utf-8"))
    return ONNX_LINES.format(
        file=quote_place(export_folder / ONNX), images=described.get("graphs", "as the graph takes them")
    )


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
