"""What the cache of a run will take on disk, said before it begins, and the precision that fits."""

from __future__ import annotations

from dataclasses import replace

from automl_kd.data import Dataset
from automl_kd.spec import Recipe, TeacherCacheOptions, TeacherSpec
from automl_kd.teacher_cache.cached_teacher import stand_still
from automl_kd.teacher_cache.precision import place_type

AUTO = "auto"
TOP = "top8"

NOTED_BYTES = 1e9
"""What is smaller is not spoken of."""

BYTES: dict[str, float] = {"exact": 4, "float16": 2}
"""Of one logit."""


def bytes_of_image(precision: str, classes: int) -> float:
    """Of one image's logits in the cache; see `precision.pack`."""
    if precision in BYTES or int(precision[3:]) >= classes:
        return BYTES.get(precision, 4) * classes
    return int(precision[3:]) * (4 + place_type(classes).itemsize) + 4


def settle_outputs(teacher: TeacherSpec, dataset: Dataset, recipe: Recipe, options: TeacherCacheOptions) -> TeacherSpec:
    """`teacher` with a precision in place of "auto": exact if all epochs fit, else the largest logits.

    Outputs that are no logits of classes stay exact.
    """
    if teacher.outputs != AUTO:
        return teacher
    if not dataset.task.labels_are_classes:
        return replace(teacher, outputs="exact")
    fits = options.keep == "off" or run_bytes("exact", dataset, recipe) <= options.limit_gb * 1e9
    return replace(teacher, outputs="exact" if fits or dataset.shape.classes <= int(TOP[3:]) else TOP)


def run_bytes(precision: str, dataset: Dataset, recipe: Recipe) -> float:
    """Of the logits of a whole run."""
    epochs = 1 if stand_still(dataset, recipe) else recipe.epochs
    return bytes_of_image(precision, dataset.shape.classes) * len(dataset.for_transfer.train) * epochs


def plan_cache(teacher: TeacherSpec, dataset: Dataset, recipe: Recipe, options: TeacherCacheOptions) -> str:
    """A sentence on what the cache will take, and on what would fit; empty for little."""
    needed, room = run_bytes(teacher.outputs, dataset, recipe), options.limit_gb * 1e9
    if options.keep == "off" or needed < NOTED_BYTES:
        return ""
    images, classes = len(dataset.for_transfer.train), dataset.shape.classes
    said = (
        f"the teacher's logits on {images:,} images ({classes:,} classes, teacher.outputs = {teacher.outputs!r}) take "
        f"{in_words(needed)} on disk for the run"
    )
    if needed <= room:
        return said
    less = run_bytes(TOP, dataset, recipe)
    advice = f"teacher.outputs = {TOP!r} takes {in_words(less)}" if less < needed else "raise the limit"
    return (
        f"{said}, of which teacher_cache.limit_gb = {options.limit_gb:g} keeps {100 * room / needed:.2g} %, and each "
        f"trial computes the rest; {advice}"
    )


def in_words(size: float) -> str:
    return f"{size / 1e9:,.3g} GB" if size >= 1e9 else f"{size / 1e6:,.3g} MB"
