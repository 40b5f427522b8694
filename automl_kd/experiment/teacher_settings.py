"""What an experiment says of its teacher, made complete before anything is trained: its file, images and classes."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial

import torch

from automl_kd import files, storage
from automl_kd.config import Experiment
from automl_kd.data import TEXTS, Dataset
from automl_kd.data.text.tokens import pin_tokenizer
from automl_kd.errors import ConfigError, FileError
from automl_kd.experiment.black_box import refuse_graph_as_weights, with_classes, with_graph, with_outputs
from automl_kd.models import pin_reference
from automl_kd.models.foreign.pretrained import pretrained, published_names
from automl_kd.models.pickled import label_pickled
from automl_kd.models.teacher_mean import normalise_shares
from automl_kd.models.text.folder import encoder_folder
from automl_kd.models.weights.checkpoint import count_classes_in, digest_file
from automl_kd.spec import BLACK_BOX, FOLDERS, HUGGING_FACE, DataSpec, Preprocessing, TeacherSpec, teacher_sections
from automl_kd.storage.content_hash import PIN
from automl_kd.training.trial import build_teacher

OF_FILES: Mapping[str, object] = {
    "resolution": 0,
    "preprocessing": Preprocessing(),
    "classes": (),
    "class_names": "",
    "total_classes": 0,
}
"""Options of a teacher that brings its weights, with their defaults; one that is trained here is like a student."""

OF_SQUARES = ("crop", "interpolation", "resize")
"""What a teacher's preprocessing and the data both say of how an image becomes square."""


def settle_teacher(teacher: TeacherSpec) -> TeacherSpec:
    """The teacher with content hashes added to its files, and with what it brings if it was published with weights.

    Of several, each, and their shares with the sum 1. `ConfigError` for options that it cannot have.
    """
    require_mean_of_several(teacher)
    if not teacher.others:
        return settle_member(teacher)
    settled = teacher.with_members(list(each_member(teacher, settle_member)))
    for section, one in zip(teacher_sections(teacher), settled.members, strict=True):
        if not one.checkpoint:
            raise ConfigError(
                f"{section} ({label_pickled(one.model)}) brings no weights, and of several teachers none is trained "
                "here; train it by itself first, and name its file as checkpoint"
            )
    return dataclasses.replace(settled, shares=normalise_shares(settled.shares))


def require_mean_of_several(teacher: TeacherSpec) -> None:
    """`ConfigError` for a mean of one teacher, and for shares that are both given and learned."""
    for name in ("shares", "learned_shares", "temperature"):
        if not teacher.others and getattr(teacher, name) != getattr(TeacherSpec, name):
            raise ConfigError(f"teacher.{name} is for several teachers, and there is one; add [[teacher.others]]")
    if teacher.shares and teacher.learned_shares:
        raise ConfigError("teacher.shares are given, and teacher.learned_shares asks to find them; keep one of the two")


def each_member(teacher: TeacherSpec, settle: Callable[[TeacherSpec], TeacherSpec]) -> Iterator[TeacherSpec]:
    """Every member settled; an error says which one it is about, if it is not the first."""
    for section, one in zip(teacher_sections(teacher), teacher.members, strict=True):
        try:
            yield settle(one)
        except ConfigError as error:
            if section == "teacher":
                raise
            raise ConfigError(f"{section}: {error}") from error


def settle_member(teacher: TeacherSpec) -> TeacherSpec:
    refuse_graph_as_weights(teacher)
    teacher = with_published(dataclasses.replace(teacher, model=pin_reference(teacher.model)))
    if teacher.model.startswith(BLACK_BOX):
        return with_graph(teacher)
    if not teacher.checkpoint:
        if given := [name for name, default in OF_FILES.items() if getattr(teacher, name) != default]:
            raise ConfigError(
                f"teacher.{given[0]} is for a teacher that brings its weights, and this one is trained on the images "
                "of the students; name its file as teacher.checkpoint, or drop the option"
            )
        return teacher
    if teacher.all_labels:
        raise ConfigError(
            "teacher.all_labels is for a teacher that is trained here, and this one comes from a file; drop one of them"
        )
    given_path = teacher.checkpoint
    if "://" not in given_path:
        given_path = str(files.expand(given_path).resolve())
    path = storage.local_path(given_path)
    storage.pull_file(path)
    return dataclasses.replace(teacher, checkpoint=given_path, digest=digest_file(path))


def with_published(teacher: TeacherSpec) -> TeacherSpec:
    """The teacher with its published weights, and with their images and outputs as far as none are stated."""
    prefix = next((one for one in FOLDERS if teacher.model.startswith(one)), "")
    if PIN.search(teacher.model):
        return teacher
    if prefix:
        folder = files.expand(teacher.model.removeprefix(prefix)).absolute()
        teacher = dataclasses.replace(teacher, model=f"{prefix}{folder}")
    found = pretrained(teacher.model, "" if teacher.checkpoint else teacher.weights)
    if found is None:
        return teacher
    own = teacher.preprocessing
    return dataclasses.replace(
        teacher,
        checkpoint=teacher.checkpoint or str(found.file),
        weights=teacher.weights if teacher.checkpoint else "",
        resolution=teacher.resolution or found.resolution,
        preprocessing=found.preprocessing if own == Preprocessing() else own,
        total_classes=teacher.total_classes or found.total_classes,
    )


def settle_view(data: DataSpec, teacher: TeacherSpec) -> DataSpec:
    """The images as they must be kept for this teacher: of its size if that is larger, and cut out as it wants them.

    Of several teachers, for the one with the largest images.
    """
    teacher = max(teacher.members, key=lambda one: one.resolution)
    own = teacher.preprocessing
    data = dataclasses.replace(data, view=teacher.resolution)
    if teacher.resolution < data.resolution:
        return data
    unset = [name for name in OF_SQUARES if getattr(data, name) == getattr(DataSpec, name)]
    return dataclasses.replace(data, **{name: getattr(own, name) for name in unset if getattr(own, name)})


def settle_tokenizer(data: DataSpec, teacher: TeacherSpec) -> DataSpec:
    """The data with the tokenizer of a teacher hf:FOLDER, where they are texts and none is named."""
    if data.tokenizer or not data.name.startswith(TEXTS) or not teacher.model.startswith(HUGGING_FACE):
        return data
    folder = encoder_folder(teacher.model.removeprefix(HUGGING_FACE))
    return dataclasses.replace(data, tokenizer=pin_tokenizer(str(folder)))


def settle_classes(experiment: Experiment, dataset: Dataset) -> Experiment:
    """The experiment with the teacher's outputs counted, and named by the data's classes."""
    teacher = experiment.teacher
    if not teacher.checkpoint:
        return experiment
    members = list(each_member(teacher, partial(settle_member_classes, dataset=dataset)))
    return dataclasses.replace(experiment, teacher=teacher.with_members(members))


def settle_member_classes(teacher: TeacherSpec, dataset: Dataset) -> TeacherSpec:
    if teacher.model.startswith(BLACK_BOX):
        teacher = with_outputs(teacher, dataset)
    if published := names_to_match(teacher, dataset):
        teacher = dataclasses.replace(teacher, classes=match_names(teacher.model, published, dataset.class_names))
    if teacher.class_names:
        classes, total = read_class_names(teacher.class_names, dataset.class_names)
        if teacher.classes and teacher.classes != classes:
            raise ConfigError(
                "teacher.classes and teacher.class_names name other outputs for the same classes; keep one of them"
            )
        teacher = with_classes(teacher, classes, teacher.total_classes or total)
    if teacher.classes and len(teacher.classes) != dataset.shape.classes:
        raise ConfigError(
            f"teacher.classes has {len(teacher.classes)} outputs, and {dataset.name} {dataset.shape.classes} classes; "
            "give one for each class, in the order of their names"
        )
    if teacher.classes and not teacher.total_classes:
        teacher = dataclasses.replace(teacher, total_classes=count_outputs(teacher, dataset))
    return teacher


def count_outputs(teacher: TeacherSpec, dataset: Dataset) -> int:
    """How many classes the weights in its file tell apart."""
    few = dataclasses.replace(teacher, classes=(), preprocessing=Preprocessing())
    with torch.random.fork_rng(devices=[]):
        network = build_teacher(few, dataset)
    return count_classes_in(network, storage.local_path(teacher.checkpoint), teacher.weights)


def read_class_names(name: str, classes: Sequence[str]) -> tuple[tuple[int, ...], int]:
    """The output of each class, and how many there are at least; 0 where the file does not tell.

    A file in lines names the outputs in their order, each by one or several names ("n01440764 tench, Tinca tinca"); a
    .csv file with the columns class and output names the output of each class.
    """
    path = storage.local_path(name)
    storage.pull_file(path)
    try:
        text = files.read_text(path)
    except FileError as error:
        raise ConfigError(f"teacher.class_names = {name!r} cannot be read: {error.strerror}; check the path") from error
    lines = text.splitlines()
    if lines and [one.strip().casefold() for one in lines[0].split(",")] == ["class", "output"]:
        return read_mapping(name, lines, classes), 0
    while lines and not lines[-1].strip():
        lines.pop()
    return match_names(name, lines, classes), len(lines)


def names_to_match(teacher: TeacherSpec, dataset: Dataset) -> tuple[str, ...]:
    """The published names of the outputs of a teacher with other classes than the data, unless they are named.

    Of one with as many classes, where a folder names them as the data do, in another order.
    """
    total, classes = teacher.total_classes, dataset.class_names
    if teacher.classes or teacher.class_names or not total:
        return ()
    if total != len(classes):
        return published_names(teacher.model, total)
    names = published_names(teacher.model, total) if teacher.model.startswith(FOLDERS) else ()
    ours, theirs = ([as_alias(one) for one in given] for given in (classes, names))
    return names if ours != theirs and sorted(ours) == sorted(theirs) else ()


def match_names(name: str, lines: Sequence[str], classes: Sequence[str]) -> tuple[int, ...]:
    """The output of each class, by the names of outputs in lines."""
    known: dict[str, int] = {}
    for output, line in enumerate(lines):
        for alias in aliases(line):
            known.setdefault(alias, output)
    found = [known.get(as_alias(one), -1) for one in classes]
    require_all(name, classes, found, known)
    return tuple(found)


def read_mapping(name: str, lines: Sequence[str], classes: Sequence[str]) -> tuple[int, ...]:
    rows = [row for row in csv.reader(lines[1:]) if row]
    try:
        known = {as_alias(row[0]): int(row[1]) for row in rows}
    except (IndexError, ValueError) as error:
        raise ConfigError(
            f"teacher.class_names = {name!r} has a line that is no class and a whole number; write class,output"
        ) from error
    found = [known.get(as_alias(one), -1) for one in classes]
    require_all(name, classes, found, known)
    return tuple(found)


def aliases(line: str) -> list[str]:
    """The names in a line: all of it, each part between commas, and its first word where that is a code."""
    first, _, rest = line.strip().partition(" ")
    parts = [line, *line.split(",")]
    if any(sign.isdigit() for sign in first):
        parts += [first, *rest.split(",")]
    return [alias for part in parts if (alias := as_alias(part))]


def as_alias(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def require_all(name: str, classes: Sequence[str], found: Sequence[int], known: Mapping[str, int]) -> None:
    missing = [one for one, output in zip(classes, found, strict=True) if output < 0]
    if not missing:
        return
    near = get_close_matches(as_alias(missing[0]), known, n=1)
    others = f" and {len(missing) - 1} other classes" if len(missing) > 1 else ""
    advice = f"did you mean {near[0]!r}? Rename it" if near else "name its outputs by teacher.class_names"
    raise ConfigError(f"{name!r} has no output for class {missing[0]!r}{others} of the data; {advice}")
