"""README.md of an export: a model card with a YAML head, as model hubs read it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from automl_kd.export.subject import Subject
from automl_kd.methods import make_method
from automl_kd.methods.schedule import INIT, RECIPE, first_changes
from automl_kd.models.teacher_mean import teacher_label
from automl_kd.results import units
from automl_kd.space import Scalar
from automl_kd.spec import FRESH, FROM_TEACHER, TrialSpec

LOADING = """```python
import automl_kd

student = automl_kd.load_student("FOLDER")  # this folder
label = student.labels[int(student(student.preprocess({one})).argmax())]  # {what}
```
"""

RUNNING = """```python
import onnxruntime

session = onnxruntime.InferenceSession("student.onnx")
(outputs,) = session.run(None, {{{feed}}})  # {takes}
```

{program}
"""


CHECKED_NOTE = (
    "Each graph ran on validation data beside the network in torch. Accuracy in this table is the share of inputs that "
    "are named right."
)


def write_card_page(subject: Subject, parity: Mapping[str, Any], files: Sequence[str], *, takes_bytes: bool) -> str:
    """The whole page. `parity`: the record of parity.json. `files`: names of what else is in the folder."""
    given = subject.input
    parts = [
        head(subject),
        f"# {subject.name}",
        introduction(subject),
        "## Beside its baselines",
        describe_standing(subject),
        "## Load it",
        LOADING.format(one=given.example_name, what=given.example_note),
        *([running(subject, takes_bytes)] if "student.onnx" in files else []),
        f"Labels are in `labels.json`, what {given.shape.one_noun} goes through before the network in "
        f"`preprocessing.json`.\n\n{given.steps}",
        "## What was checked",
        checked(parity),
        "## What it cost",
        cost(subject),
        "## Where it comes from",
        provenance(subject, parity),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def running(subject: Subject, takes_bytes: bool) -> str:
    given = subject.input
    feed = ", ".join(f'"{name}": {name}' for name in given.names)
    return RUNNING.format(feed=feed, takes=given.describe_graph(takes_bytes), program=given.program_line)


def head(subject: Subject) -> str:
    """In YAML, of which JSON's texts are a part."""
    teacher, task = subject.spec.teacher, subject.input.pipeline
    lines = [
        "license: unknown  # state yours, which those of the data and of the teacher may bind",
        "library_name: automl_kd",
        f"pipeline_tag: {task}",
        f"tags: [{task}, knowledge-distillation, automl_kd]",
        f"datasets: [{json.dumps(name_data_set(subject))}]",
        f"metrics: [{subject.dataset.task.metric}]",
        *([f"base_model: {json.dumps(teacher_label(teacher))}"] if teacher else []),
    ]
    return "\n".join(["---", *lines, "---"])


def name_data_set(subject: Subject) -> str:
    """For whoever gets the student: without the folders of this machine above it."""
    form, _, path = str(subject.row.get("dataset", subject.spec.data.name)).partition(":")
    return f"{form}:{PurePath(path).name}" if path else form


def introduction(subject: Subject) -> str:
    spec, given = subject.spec, subject.input
    needed = make_method(spec.method, spec.options).needs_teacher
    teacher = f", taught by {teacher_label(spec.teacher)}" if spec.teacher and needed else ""
    options = ", ".join(f"{name} = {value}" for name, value in {**spec.options, **recipe_of(spec)}.items())
    size = sum(one.numel() for one in subject.student.parameters())
    test = subject.row.get("test_accuracy")
    by = f"by {spec.method}" if needed else "on labels alone"
    reached = f" {describe_test(subject, test)}" if test is not None else ""
    return (
        f"A network for {given.summary} and {given.shape.classes} classes, with "
        f"{units.format_count(size)} parameters. It was trained on {name_data_set(subject)} {by}"
        f"{f' ({options})' if options else ''}{describe_start(subject)}{teacher}.{reached}"
    )


def recipe_of(spec: TrialSpec) -> dict[str, Scalar]:
    """What a search found of the recipe, by the names of its fields."""
    changes = first_changes(spec.schedule)
    return {name.removeprefix(RECIPE): value for name, value in changes.items() if name.startswith(RECIPE)}


def describe_start(subject: Subject) -> str:
    """What it began with; empty for drawn weights, as where nothing of others fits it."""
    spec = subject.spec
    if "init" in subject.row and not isinstance(subject.row["init"], str):
        return ""
    begun = str(first_changes(spec.schedule).get(INIT, spec.init))
    if begun == FROM_TEACHER and spec.teacher:
        return f" from the weights of {teacher_label(spec.teacher)}"
    return "" if begun == FRESH else units.beginning("parent" if spec.parent else begun)


def describe_test(subject: Subject, reached: float) -> str:
    """What it came to on test, by the metric that its row holds."""
    metric, noun = subject.dataset.task.metric, f"the test {subject.input.noun}"
    if metric == "accuracy":
        return f"It is right on {units.percent(reached)} % of {noun}."
    return f"It reaches {units.percent(reached)} % by {units.METRICS.get(metric, metric)} on {noun}."


def describe_standing(subject: Subject) -> str:
    words = subject.standing
    named = units.metric_sentence([subject.dataset.task.metric]) if words.sentence or words.table else ""
    found = "\n\n".join(filter(None, [words.sentence, words.table, named]))
    return found or "Its experiment has no complete comparison, so nothing is known of what the search gained."


def checked(parity: Mapping[str, Any]) -> str:
    lines = [
        "| file | batch | inputs | accuracy, % | the student's, % | largest difference |",
        "|---|---|---|---|---|---|",
    ]
    for file, passes in parity["files"].items():
        lines += [
            f"| {file} | {one['batch']} | {one['images']:,} | {units.percent(one['accuracy'])} | "
            f"{units.percent(one['student_accuracy'])} | {one['difference']:.3g} |"
            for one in passes
        ]
    return f"{CHECKED_NOTE}\n\n" + "\n".join(lines)


def cost(subject: Subject) -> str:
    row = subject.row
    facts = {
        "parameters": units.format_count(row.get("params")),
        "multiply-adds for an input": units.format_count(row.get("macs")),
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
        "digest of the data": spec.data.digest,
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
