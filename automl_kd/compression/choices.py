"""What a compression takes where nothing is said: resolution, space, start, recipe and search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automl_kd.compression.request import (
    LARGE_IMAGE_SPACE,
    SMALL_IMAGE_SPACE,
    SMALL_SIDE,
    TEXT_SPACE,
    CompressRequest,
)
from automl_kd.data import FORMATS
from automl_kd.spec.named_recipes import NAMED_RECIPES

RESOLUTIONS = (64, 96, 128, 160, 192, 224)
"""Of images from files, the largest for which there is time."""

FIRST_RESOLUTION = 96
"""At which speed is measured before the resolution is chosen."""

OF_ONE_SIZE = {"arrays", "pack", "text"}
"""Forms whose images have the size of their file."""

BATCHES = ((50_000, 64), (200_000, 128))
"""Images below which a batch has so many; more have `LARGE_BATCH`."""

LARGE_BATCH, LEARNING_RATE, RATE_BATCH = 256, 0.05, 64
"""The rate is of a batch of `RATE_BATCH`, and in proportion for others (Goyal et al. 2017. arXiv:1706.02677)."""

STUDENT_RATE, TEACHER_RATE, TEACHER_EPOCHS = 2e-4, 1e-4, 2
"""Of encoders of texts."""

SLICED = 0.5
"""Of the default student's parameters, what must have a counterpart in the teacher: a DenseNet has a third of a ResNet.
"""

CONVOLUTIONAL_FILTER = ("macs", "zen")
"""What candidates are filtered by: the second is blind to parameters alone, the first to shape."""


def chooses_resolution(request: CompressRequest) -> bool:
    """Whether the images are files of any size, and nobody has said how large students see them."""
    form = str(request.data.get("name", "")).partition(":")[0]
    return form in FORMATS and form not in OF_ONE_SIZE and not request.data.get("resolution")


def with_resolution(request: CompressRequest, resolution: int) -> dict[str, Any]:
    """The section `data` with a resolution."""
    return {"data": {**request.data, "resolution": resolution}}


def choose_teacher(request: CompressRequest, resolution: int) -> dict[str, Any]:
    """The section `teacher` of one that was trained elsewhere: it sees what students see, unless it is said otherwise.

    Its own size would often cost several times as much, all of which is counted where compute is equal.
    """
    return {"teacher": {"resolution": resolution, **request.teacher}} if resolution else {}


def choose_space(request: CompressRequest, side: int) -> str:
    """By the height of the images, or for texts."""
    if request.of_texts:
        return request.space or TEXT_SPACE
    return request.space or (SMALL_IMAGE_SPACE if side <= SMALL_SIDE else LARGE_IMAGE_SPACE)


def choose_recipe(request: CompressRequest, images: int) -> dict[str, Any]:
    """Of all trainings of students, by the number of training images; of texts that of encoders.

    Nothing where the user names a recipe, which is taken as it is.
    """
    if request.sets("recipe.name"):
        return {}
    if request.of_texts:
        return encoder_recipe(STUDENT_RATE)
    batch = next((batch for limit, batch in BATCHES if images < limit), LARGE_BATCH)
    rate = round(LEARNING_RATE * batch / RATE_BATCH, 4)
    return {"batch_size": batch, "lr": rate, "schedule": "cosine", "warmup": 0.1}


def encoder_recipe(rate: float) -> dict[str, Any]:
    """Weights of normalisation decay as all others do, as methods that look ahead want it."""
    fields = {name: value for name, value in NAMED_RECIPES["bert"].fields.items() if name != "epochs"}
    return {**fields, "lr": rate, "decay_norms": True}


def choose_teacher_training(request: CompressRequest) -> dict[str, Any]:
    """The section `teacher` of an encoder of texts, which is fine-tuned; others are trained as is usual here."""
    if not request.of_texts or request.sets("teacher.recipe.name"):
        return {}
    recipe = {**encoder_recipe(TEACHER_RATE), "epochs": TEACHER_EPOCHS}
    return {"teacher": {"recipe": recipe, **request.teacher}}


def choose_teaching(request: CompressRequest, space: str, *, pretrained: bool) -> dict[str, Any]:
    """A teacher that was trained elsewhere is sure of itself: it is followed at temperature 1, in place of labels.

    Not where the user says how to teach.
    """
    if space == TEXT_SPACE or not pretrained or request.sets("method", "hyperparameters"):
        return {"method": "kd"}
    return {"method": "kd", "options": {"temperature": 1.0, "weight": 1.0}}


def choose_start(share: float) -> dict[str, Any]:
    """Students begin with the teacher's weights where these are for at least `SLICED` of the default student's.

    At equal compute that was worth 3.8 points over plain KD and 1.3 over training from scratch (docs/comparison.md).
    """
    return {"student": {"init": "teacher" if share >= SLICED else "fresh"}}


def choose_search(space: str) -> Mapping[str, Any]:
    filtered = CONVOLUTIONAL_FILTER if space in {SMALL_IMAGE_SPACE, LARGE_IMAGE_SPACE} else ()
    return {"proxy_filter": list(filtered), "pool": 20, "scheduler": "asha"}


COMPARED = ("default-kd", "found-scratch", "found-labels")
"""What the found student is held against: the default by plain KD, and itself without a teacher, from fresh weights and
from those that it begins with."""

COMPARED_ALONE = ("default-scratch", "found-labels")
"""Of a space of one student, which is found and default at once: itself without a teacher."""
