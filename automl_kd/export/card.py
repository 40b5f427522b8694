"""README.md of an export: a model card with a YAML head, as model hubs read it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from automl_kd.export.graphs import PROBABILITIES_NAME
from automl_kd.export.subject import Subject
from automl_kd.models.black_box.graph import LOGITS_NAME
from automl_kd.models.teacher_mean import teacher_label
from automl_kd.results import units

CHANNEL_ORDERS = {1: "grey", 3: "RGB"}

LOADING = """```python
import automl_kd

student = automl_kd.load_student("FOLDER")  # this folder
label = student.labels[int(student(student.preprocess(picture)).argmax())]  # picture: of PIL
```
"""

RUNNING = """```python
import onnxruntime

session = onnxruntime.InferenceSession("student.onnx")
(outputs,) = session.run(None, {{"images": images}})  # {images}
```

`python run.py photo.jpg` names the class of image files; it needs onnxruntime, numpy and Pillow alone.
"""


def write_card_page(subject: Subject, parity: Mapping[str, Any], files: Sequence[str], *, takes_bytes: bool) -> str:
    """The whole page. `parity`: the record of parity.json. `files`: names of what else is in the folder."""
    parts = [
        head(subject),
        f"# {subject.name}",
        introduction(subject),
        "## Beside its baselines",
        describe_standing(subject),
        "## Load it",
        LOADING,
        *([RUNNING.format(images=describe_images(subject, takes_bytes))] if "student.onnx" in files else []),
        f"Labels are in `labels.json`, what an image goes through before the network in `preprocessing.json`.\n\n"
        f"{describe_preprocessing(subject)}",
        "## What was checked",
        checked(parity),
        "## What it cost",
        cost(subject),
        "## Where it comes from",
        provenance(subject, parity),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def head(subject: Subject) -> str:
    """In YAML, of which JSON's texts are a part."""
    teacher = subject.spec.teacher
    lines = [
        "license: unknown  # state yours, which those of the images and of the teacher may bind",
        "library_name: automl_kd",
        "pipeline_tag: image-classification",
        "tags: [image-classification, knowledge-distillation, automl_kd]",
        f"datasets: [{json.dumps(name_data_set(subject))}]",
        "metrics: [accuracy]",
        *([f"base_model: {json.dumps(teacher_label(teacher))}"] if teacher else []),
    ]
    return "\n".join(["---", *lines, "---"])


def name_data_set(subject: Subject) -> str:
    """For whoever gets the student: without the folders of this machine above it."""
    form, _, path = str(subject.row.get("dataset", subject.spec.data.name)).partition(":")
    return f"{form}:{PurePath(path).name}" if path else form


def introduction(subject: Subject) -> str:
    spec, shape = subject.spec, subject.input.shape
    teacher = f", taught by {teacher_label(spec.teacher)}" if spec.teacher else ""
    options = ", ".join(f"{name} = {value}" for name, value in spec.options.items())
    size = sum(one.numel() for one in subject.student.parameters())
    test = subject.row.get("test_accuracy")
    reached = f" It is right on {units.percent(test)} % of the test images." if test is not None else ""
    return (
        f"A network for images of {shape.height} by {shape.width} pixels and {shape.classes} classes, with "
        f"{units.format_count(size)} parameters. It was trained on {name_data_set(subject)} by {spec.method}"
        f"{f' ({options})' if options else ''}{teacher}.{reached}"
    )


def describe_standing(subject: Subject) -> str:
    words = subject.standing
    found = "\n\n".join(filter(None, [words.sentence, words.table]))
    return found or "Its experiment has no complete comparison, so nothing is known of what the search gained."


def describe_images(subject: Subject, takes_bytes: bool) -> str:
    """What a graph takes and returns."""
    shape = subject.input.shape
    if takes_bytes:
        return f"uint8 (n, {shape.height}, {shape.width}, {shape.channels}); {PROBABILITIES_NAME} come out"
    return f"float32 (n, {shape.channels}, {shape.height}, {shape.width}), normalised; {LOGITS_NAME} come out"


def describe_preprocessing(subject: Subject) -> str:
    """In words, step by step."""
    given = subject.input
    fit, shape = given.fit, given.shape
    steps = [f"The image is read as {CHANNEL_ORDERS.get(shape.channels, f'{shape.channels} channels')}, upright."]
    if fit.size and fit.resize == "squash":
        steps.append(f"It is scaled to {fit.size} by {fit.size} pixels, whatever its shape ({fit.interpolation}).")
    elif fit.size:
        steps.append(
            f"Its shorter side is scaled to {fit.scaled_side} pixels ({fit.interpolation}), and its middle of "
            f"{fit.size} by {fit.size} is cut out."
        )
    else:
        steps.append(f"It has {shape.height} by {shape.width} pixels and is not resized.")
    steps.append("Bytes are divided by 255; of each channel the mean is subtracted, and its deviation divides.")
    if fit.size and fit.size != shape.height:
        steps.append(f"What results is reduced to {shape.height} by {shape.width} (bilinear, antialiased).")
    return " ".join(steps)


def checked(parity: Mapping[str, Any]) -> str:
    lines = [
        "| file | batch | images | accuracy, % | the student's, % | largest difference |",
        "|---|---|---|---|---|---|",
    ]
    for file, passes in parity["files"].items():
        lines += [
            f"| {file} | {one['batch']} | {one['images']:,} | {units.percent(one['accuracy'])} | "
            f"{units.percent(one['student_accuracy'])} | {one['difference']:.3g} |"
            for one in passes
        ]
    return "Each graph ran on validation images beside the network in torch.\n\n" + "\n".join(lines)


def cost(subject: Subject) -> str:
    row = subject.row
    facts = {
        "parameters": units.format_count(row.get("params")),
        "multiply-adds for an image": units.format_count(row.get("macs")),
        "latency of its training's device, ms": units.milliseconds(row.get("latency_ms")),
        "training": units.duration(row.get("seconds")),
        "multiply-adds of its training": units.format_count(row.get("train_macs")),
    }
    known = [f"| {name} | {value} |" for name, value in facts.items() if value != units.MISSING]
    table = "\n".join(["| what | cost |", "|---|---|", *known]) if known else ""
    return "\n\n".join(filter(None, [table, subject.standing.cost])) or "Its results have no row that says so."


def provenance(subject: Subject, parity: Mapping[str, Any]) -> str:
    spec, row = subject.spec, subject.row
    made = json.loads(str(row.get("versions_json", "{}")))
    facts = {
        "trial": spec.key,
        "experiment": row.get("experiment", ""),
        "seed": spec.seed,
        "commit": row.get("git_commit", ""),
        "digest of the images": spec.data.digest,
        "digest of the teacher": spec.teacher.digest if spec.teacher else "",
        "trained on": row.get("device", ""),
        "trained with": ", ".join(f"{name} {version}" for name, version in made.items()),
        "exported with": ", ".join(f"{name} {version}" for name, version in parity["versions"].items()),
    }
    lines = [f"| {name} | {value} |" for name, value in facts.items() if value != "" and not is_nan(value)]
    again = "`experiment.toml` trains it again without the search: `automl-kd search experiment.toml`."
    return "\n".join(["| what | value |", "|---|---|", *lines]) + f"\n\n{again}"


def is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
