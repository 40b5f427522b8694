"""What the student and its teacher answer on the test images: computed once, and kept in a file beside the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from automl_kd import files, storage
from automl_kd.data import LoadProgress, follow_rows, plain_view
from automl_kd.decision.networks import ComparedNetworks
from automl_kd.errors import FileError, ResultError
from automl_kd.models.memory_layout import laid_out
from automl_kd.results import units
from automl_kd.spec import Recipe
from automl_kd.training.evaluate import autocast, evaluation_batch

PREDICTING = "classifying test images"
"""What progress is told of."""

SURENESS_DIGITS = 4

LARGEST_FILE = 2**30
"""Bytes of kept answers: about twenty for an image."""

MOST_MOVED = 0.005
"""How far an accuracy may lie from that of the row, as another processor rounds otherwise; two images at least."""


@dataclass(frozen=True, kw_only=True)
class TestPredictions:
    """Answers on the test images in their order: classes, and the probability of each answer, in [0, 1].

    `noun`: what they are of, if not images. `pictures`: places with embedded pictures, or texts behind "text:".
    `labels`: -1 for an image without one. `teacher`, `teacher_sure`: empty without a teacher. `trial`, `images`,
    `teacher_name`: whose answers these are, on what; kept ones of anything else are computed anew.
    """

    __test__ = False

    trial: str
    images: str
    teacher_name: str
    class_names: tuple[str, ...]
    labels: tuple[int, ...]
    student: tuple[int, ...]
    student_sure: tuple[float, ...]
    teacher: tuple[int, ...] = ()
    teacher_sure: tuple[float, ...] = ()
    pictures: tuple[tuple[int, str], ...] = ()
    noun: str = "images"

    def __post_init__(self) -> None:
        lengths = {len(one) for one in (self.labels, self.student, self.student_sure)}
        lengths |= {len(one) for one in (self.teacher, self.teacher_sure) if self.teacher_name}
        if len(lengths) != 1 or not self.labels:
            raise ValueError(f"predictions are of as many images as there are labels, got lengths {sorted(lengths)}")
        answers = {*self.labels, *self.student, *self.teacher}
        if not all(-1 <= one < len(self.class_names) for one in answers):
            raise ValueError(f"classes must lie in 0 to {len(self.class_names) - 1}")
        for place, source in self.pictures:
            if not 0 <= place < len(self.labels) or not source.startswith(("data:image/", "text:")):
                raise ValueError(f"a picture is of a test image and embedded, got one of place {place}")

    @property
    def labelled(self) -> list[int]:
        """The places of the images that have a label."""
        return [place for place, label in enumerate(self.labels) if label >= 0]

    def right_share(self, answers: tuple[int, ...]) -> float:
        """The fraction of labelled images on which `answers` are right; NaN without labels."""
        places = self.labelled
        return sum(answers[place] == self.labels[place] for place in places) / len(places) if places else float("nan")


def predict_test(
    networks: ComparedNetworks, device: torch.device, notify: LoadProgress, batch: int | None = None
) -> TestPredictions:
    """Run both networks over the test images, `batch` at once; None for as many as an evaluation takes.

    Images are read in their order, batch by batch, so that a set which is streamed need not fit into memory.
    """
    dataset, recipe = networks.dataset, networks.spec.recipe
    split, size = dataset.test, batch or evaluation_batch(device, recipe, dataset.shape)
    student = networks.student.to(device).eval()
    teacher = networks.teacher.to(device).eval() if networks.teacher is not None else None
    answers: list[BatchAnswers] = []
    teacher_answers: list[BatchAnswers] = []
    follow_rows(split, size)
    with torch.inference_mode():
        for rows in torch.split(torch.arange(len(split)), size):
            views = plain_view(dataset, split, rows).to(device)
            answers.append(answer_batch(student, networks.as_given(views), recipe))
            if teacher is not None:
                teacher_answers.append(answer_batch(teacher, views, recipe))
            notify(PREDICTING, int(rows[-1]) + 1, len(split))
    classes, sure = join_answers(answers)
    teacher_classes, teacher_sure = join_answers(teacher_answers)
    return TestPredictions(
        trial=networks.spec.key,
        images=networks.images,
        teacher_name=networks.teacher_name,
        class_names=tuple(map(str, dataset.class_names)),
        labels=tuple(split.labels.tolist()),
        student=classes,
        student_sure=sure,
        teacher=teacher_classes,
        teacher_sure=teacher_sure,
        noun=split.noun,
    )


BatchAnswers = tuple[Tensor, Tensor]
"""Classes and their probabilities."""


def answer_batch(network: nn.Module, images: Tensor, recipe: Recipe) -> BatchAnswers:
    """Of each image the class with the largest logit, and its probability, on the processor."""
    images = laid_out(images, recipe)
    with autocast(images.device, recipe):
        logits = network(images).float()
    answers = logits.argmax(1)
    return answers.cpu(), logits.softmax(1).gather(1, answers[:, None])[:, 0].cpu()


def join_answers(answers: list[BatchAnswers]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    if not answers:
        return (), ()
    classes, sure = (torch.cat(one) for one in zip(*answers, strict=True))
    return tuple(classes.tolist()), tuple(round(one, SURENESS_DIGITS) for one in sure.tolist())


def require_recorded(predictions: TestPredictions, recorded: Mapping[str, float]) -> None:
    """`ResultError` where a network is not as often right as its row says: other images, classes or weights.

    `recorded`: test accuracies of "student" and "teacher", where known.
    """
    most = max(2 / max(1, len(predictions.labelled)), MOST_MOVED)
    for name, accuracy in recorded.items():
        found = predictions.right_share(getattr(predictions, name))
        if abs(found - accuracy) > most + 1e-9:
            raise ResultError(
                f"the {name} is right on {units.percent(found)} % of the test images, and its row says "
                f"{units.percent(accuracy)} %: these are other images, weights or another order of classes than those "
                "of its training; bring the ones of its training back"
            )


def write_predictions(file: Path, predictions: TestPredictions) -> None:
    storage.write(file, json.dumps(asdict(predictions)) + "\n")


def read_predictions(file: Path, trial: str, teacher_name: str, images: str) -> TestPredictions | None:
    """What is kept in `file` of this trial, teacher and images; None where it is of others, or damaged, or not there.

    `images`: their digest, empty where it is not known.
    """
    try:
        record = files.read_json(file, limit=LARGEST_FILE)
        columns: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        kept = TestPredictions(**columns)
    except (FileError, ValueError, TypeError, AttributeError, IndexError):
        return None
    return kept if (kept.trial, kept.teacher_name, kept.images) == (trial, teacher_name, images) else None
