"""The folder of an export: written beside its place, tried on real images, and put there whole or not at all."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from automl_kd import files
from automl_kd.config import require_name
from automl_kd.config.recipe_names import NoteSentence
from automl_kd.errors import ExportError
from automl_kd.export import card, graphs
from automl_kd.export.experiment_file import write_experiment
from automl_kd.export.int8 import quantise_subject
from automl_kd.export.packages import EXPORT_PACKAGES, require_export_packages
from automl_kd.export.parity import (
    ACCURACY_TOLERANCE,
    LOGIT_TOLERANCE,
    SURE,
    GraphRun,
    Parity,
    measure_graphs,
    require_parity,
    require_recorded_accuracy,
    require_small_loss,
)
from automl_kd.export.run_program import write_run_program
from automl_kd.export.runners import RUNNERS
from automl_kd.export.student_input import PROBABILITIES_NAME, StudentInput
from automl_kd.export.subject import Subject
from automl_kd.methods.model_card import CARD, SUBGRAPH_FILE
from automl_kd.models.black_box.graph import LOGITS_NAME
from automl_kd.registry import PICKLED
from automl_kd.spec import require
from automl_kd.storage.content_hash import PIN

WEIGHTS, ONNX, PT2, INT8 = "student.safetensors", "student.onnx", "student.pt2", "student.int8.onnx"
LABELS, PREPROCESSING, PARITY = "labels.json", "preprocessing.json", "parity.json"
EXPERIMENT_FILE, PAGE_FILE, RUN_FILE = "experiment.toml", "README.md", "run.py"
OBJECTS_FOLDER = "_objects"

IMAGES_AT_ONCE = 64
"""Images at once."""

ALONE = 1000
"""At most so many images are also run one by one, evenly spaced."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is written. `onnx`, `pt2`, `int8`: these files. `preprocessing`: graphs take bytes and return probabilities.

    `max_int8_loss` (0 or more): points of accuracy that the graph in eight bits may lose.
    """

    onnx: bool = True
    pt2: bool = True
    int8: bool = False
    preprocessing: bool = False
    max_int8_loss: float = 2.0

    def __post_init__(self) -> None:
        require(self.max_int8_loss >= 0, f"max_int8_loss must be 0 or more points, got {self.max_int8_loss}")
        require(self.onnx or not self.int8, "int8 is made of the ONNX file; leave onnx on, or int8 off")


def check_place(out: Path) -> None:
    """`ExportError` for a place where no folder can go."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} is there already; name a folder that is not, or is empty")


def check_packages(options: ExportOptions) -> None:
    if options.onnx:
        require_export_packages("export with --no-onnx")


def check_inputs(subject: Subject, options: ExportOptions) -> None:
    """`ExportError` for graphs that would have to do what a tokenizer does, and for tasks without classes."""
    if options.preprocessing and not isinstance(subject.input, StudentInput):
        raise ExportError("graphs take tokens, which a tokenizer makes of texts; export without preprocessing")
    if not subject.dataset.task.labels_are_classes:
        raise ExportError(
            f"exports are compared by the classes that they name, and data.task is {subject.spec.data.task!r}; read "
            "the student by automl_kd.load_student, and export it yourself"
        )


def export_student(subject: Subject, out: Path, options: ExportOptions, say: NoteSentence = lambda _what: None) -> Path:
    """Write the folder `out`, and return it. `ExportError` if a graph cannot be made, or does other than the student.

    `say`: is told what is being done.
    """
    check_place(out)
    check_packages(options)
    check_inputs(subject, options)
    files.remove_abandoned(out)
    with files.making_folder(out) as folder:
        write_description(subject, folder, options)
        save_tensors(subject.student, folder / WEIGHTS)
        written = write_graphs(subject, folder, options, say)
        record = check_graphs(subject, folder, written, options, say)
        write_json(folder / PARITY, record)
        if ONNX in written:
            files.write(folder / RUN_FILE, write_run_program(subject.input, takes_bytes=options.preprocessing))
        page = card.write_card_page(subject, record, written, takes_bytes=options.preprocessing)
        files.write(folder / PAGE_FILE, page)
    return out


def write_description(subject: Subject, folder: Path, options: ExportOptions) -> None:
    """All that is not a network: labels, preprocessing, how to build and how to train the student again."""
    given = subject.input
    write_json(folder / LABELS, list(subject.dataset.class_names))
    described = {
        "steps": given.steps,
        **given.describe(),
        "graphs": given.describe_graph(options.preprocessing),
        **given.to_record(),
    }
    given.write_files(folder)
    write_json(folder / PREPROCESSING, described)
    for name in (CARD, SUBGRAPH_FILE):
        if (subject.folder / name).exists():
            shutil.copyfile(subject.folder / name, folder / name)
    copy_object(subject, folder)
    files.write(folder / EXPERIMENT_FILE, write_experiment(subject.spec, experiment_name(subject)))


def copy_object(subject: Subject, folder: Path) -> None:
    """Where a Python program gave the student as an object, take its file along."""
    if PICKLED not in subject.spec.space:
        return
    file = Path(PIN.sub("", subject.spec.space).rpartition(PICKLED)[2])
    beside = subject.folder.parent.parent / OBJECTS_FOLDER / file.name
    (folder / OBJECTS_FOLDER).mkdir()
    shutil.copyfile(file if file.exists() else beside, folder / OBJECTS_FOLDER / file.name)


def experiment_name(subject: Subject) -> str:
    name = f"{subject.row.get('experiment', 'student')}-again"[-100:].lstrip("._-")
    require_name(name)
    return name


def save_tensors(student: nn.Module, path: Path) -> None:
    from safetensors.torch import save  # noqa: PLC0415 - only an export needs it

    # Copies: safetensors refuses tensors that share memory, and those whose rows do not come last. Written here, as the
    # files that it writes can be read by their owner alone.
    files.write(path, save({name: one.detach().contiguous().clone() for name, one in student.state_dict().items()}))


def write_graphs(subject: Subject, folder: Path, options: ExportOptions, say: NoteSentence) -> list[str]:
    """The names of the files of graphs that were written."""
    if not (options.onnx or options.pt2):
        return []
    shape, given = subject.input.shape, subject.image_input if options.preprocessing else None
    say("tracing the student")
    program = graphs.trace_program(graphs.make_graph(subject.student, shape, given), shape)
    written = []
    if options.pt2:
        graphs.write_program(program, folder / PT2)
        written.append(PT2)
    if options.onnx:
        say("converting to ONNX")
        graphs.write_onnx(program, folder / ONNX, PROBABILITIES_NAME if given else LOGITS_NAME, subject.input.names)
        written.append(ONNX)
    if options.int8:
        say("quantising")
        quantise_subject(subject, folder, graph_input(subject, options))
        written.append(INT8)
    return written


def graph_input(subject: Subject, options: ExportOptions) -> Callable[[Tensor], Tensor]:
    """What a graph is given of images as the student is."""
    return subject.as_bytes if options.preprocessing else lambda images: images


def check_graphs(
    subject: Subject, folder: Path, written: list[str], options: ExportOptions, say: NoteSentence
) -> dict[str, Any]:
    """The record of parity.json; `ExportError` if a graph does other than the student."""
    give = graph_input(subject, options)
    ready = {name: GraphRun(RUNNERS[Path(name).suffix](folder / name), give, options.preprocessing) for name in written}

    def images(rows: Tensor) -> Tensor:
        exact = subject.validation_images(rows)
        return subject.image_input(subject.as_bytes(exact).permute(0, 3, 1, 2)) if options.preprocessing else exact

    def student(given: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = subject.student(given)
        return logits.float()

    labels = subject.dataset.validation.labels.cpu()
    few = torch.linspace(0, len(labels) - 1, min(ALONE, len(labels))).round().long()
    say(f"comparing on {len(labels):,} validation {subject.input.noun}")
    passes = [measure_graphs(student, ready, images, labels, IMAGES_AT_ONCE)]
    for all_images in passes[0].values():
        require_recorded_accuracy(all_images, recorded_accuracy(subject))
    passes.append(measure_graphs(student, ready, lambda rows: images(few[rows]), labels[few], 1))
    for found in passes:
        judge_graphs(found, options)
    return describe_parity(subject, passes, options)


def recorded_accuracy(subject: Subject) -> float | None:
    """Of the student on validation as its row has it; None where that is not known, or holds another metric."""
    return subject.row.get("val_accuracy") if subject.dataset.task.metric == "accuracy" else None


def judge_graphs(found: Mapping[str, Parity], options: ExportOptions) -> None:
    for name, parity in found.items():
        if name != INT8:
            require_parity(name, parity)
        elif parity.batch == IMAGES_AT_ONCE:  # all images
            require_small_loss(name, parity, options.max_int8_loss)


def describe_parity(subject: Subject, passes: list[dict[str, Parity]], options: ExportOptions) -> dict[str, Any]:
    names = passes[0]
    return {
        "images": f"validation {subject.input.noun} of {card.name_data_set(subject)}",
        "recorded_accuracy": recorded_accuracy(subject),
        "files": {name: [asdict(one[name]) for one in passes] for name in names},
        "int8_loss_points": passes[0][INT8].loss_points if INT8 in names else None,
        "limits": {
            "accuracy": ACCURACY_TOLERANCE,
            "sure": SURE,
            "logit": LOGIT_TOLERANCE,
            "int8_points": options.max_int8_loss,
        },
        "versions": package_versions(EXPORT_PACKAGES if options.onnx else ()),
    }


def package_versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    return found | {name: importlib.metadata.version(name) for name in packages}


def write_json(path: Path, record: Any) -> None:
    files.write(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
