"""Test images or texts on which student and teacher disagree, and one of them is right: evenly of either kind."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from automl_kd.decision.networks import ComparedNetworks
from automl_kd.decision.predictions import TestPredictions
from automl_kd.export import TextInput

PICTURES = 10

LARGEST_SIDE = 192
"""Pixels: larger pictures are reduced."""

EXACT_SIDE = 64
"""Up to so many pixels a picture is kept exactly; larger ones are compressed."""

EXACT_MARK = "image/png"
"""In the source of a picture that is kept exactly."""

QUALITY = 88


TEXT_MARK = "text:"
"""Before what is no picture but a text itself."""

LONGEST_TEXT = 400
"""Characters of a text that are shown."""


class DisagreementExample(NamedTuple):
    """`source`: the picture, as text that a page embeds; of a text empty, and `text` is it. Answers with their
    probabilities in whole percent.
    """

    source: str
    text: str
    label: str
    teacher: str
    teacher_sure: int
    student: str
    student_sure: int
    teacher_right: bool


class AgreementCounts(NamedTuple):
    """Labelled test images by who is right. `same_mistake`: of `neither`, those that both call the same."""

    both: int
    teacher_only: int
    student_only: int
    neither: int
    same_mistake: int


def count_agreement(predictions: TestPredictions) -> AgreementCounts:
    labels, teacher, student = answer_arrays(predictions)
    ours, theirs = student == labels, teacher == labels
    return AgreementCounts(
        both=int((ours & theirs).sum()),
        teacher_only=int((theirs & ~ours).sum()),
        student_only=int((ours & ~theirs).sum()),
        neither=int((~ours & ~theirs).sum()),
        same_mistake=int((~ours & (student == teacher)).sum()),
    )


def answer_arrays(predictions: TestPredictions) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Labels, the teacher's and the student's answers on labelled images."""
    columns = (predictions.labels, predictions.teacher, predictions.student)
    labels, teacher, student = (np.array(one, dtype=np.int64)[predictions.labelled] for one in columns)
    return labels, teacher, student


def choose_disagreements(predictions: TestPredictions, count: int = PICTURES) -> list[int]:
    """Places of `count` test images, evenly spaced in either kind: the teacher's alone first, then the student's.

    Where one kind has fewer than half, the other fills up.
    """
    if not predictions.teacher:
        return []
    labels, teacher, student = answer_arrays(predictions)
    places = np.array(predictions.labelled, dtype=np.int64)
    kinds = [places[(teacher == labels) & (student != labels)], places[(student == labels) & (teacher != labels)]]
    half = count // 2
    few = [min(len(one), max(half, count - len(other))) for one, other in (kinds, kinds[::-1])]
    return [place for kind, number in zip(kinds, few, strict=True) for place in spread_evenly(kind, number)]


def spread_evenly(places: NDArray[np.int64], count: int) -> list[int]:
    if not count:
        return []
    chosen = np.linspace(0, len(places) - 1, count + 2)[1:-1] if len(places) > count else np.arange(len(places))
    return [int(one) for one in places[np.unique(chosen.round().astype(np.int64))]]


def draw_pictures(networks: ComparedNetworks, places: Sequence[int]) -> list[tuple[int, str]]:
    """Each place with its picture as the student is given it, or its text, for `TestPredictions.pictures`."""
    if not places:
        return []
    dataset = networks.dataset
    if isinstance(given := networks.subject.input, TextInput):
        tokens = dataset.test.tokens_at(torch.tensor(places)).tolist()
        return [(place, TEXT_MARK + given.writer.read(row)) for place, row in zip(places, tokens, strict=True)]
    pixels = dataset.test.pixels_at(torch.tensor(places)).float()
    pictures = networks.as_given(pixels).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [(place, encode_picture(one)) for place, one in zip(places, pictures, strict=True)]


def encode_picture(pixels: NDArray[np.uint8]) -> str:
    """Bytes (height, width, channels) as a data URI; of channels that are neither grey nor colours the first one."""
    picture = Image.fromarray(pixels if pixels.shape[2] == 3 else np.ascontiguousarray(pixels[:, :, 0]))
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    exact = max(picture.size) <= EXACT_SIDE
    sink = io.BytesIO()
    if exact:
        picture.save(sink, "PNG", optimize=True)
    else:
        picture.save(sink, "JPEG", quality=QUALITY)
    return f"data:image/{'png' if exact else 'jpeg'};base64,{base64.b64encode(sink.getvalue()).decode()}"


def list_disagreements(predictions: TestPredictions) -> list[DisagreementExample]:
    """What the page shows of the pictures that are kept."""
    names = predictions.class_names
    found = []
    for place, source in predictions.pictures:
        label, teacher, student = predictions.labels[place], predictions.teacher[place], predictions.student[place]
        found.append(
            DisagreementExample(
                source="" if source.startswith(TEXT_MARK) else source,
                text=shortened(source.removeprefix(TEXT_MARK)) if source.startswith(TEXT_MARK) else "",
                label=names[label],
                teacher=names[teacher],
                teacher_sure=round(100 * predictions.teacher_sure[place]),
                student=names[student],
                student_sure=round(100 * predictions.student_sure[place]),
                teacher_right=teacher == label,
            )
        )
    return found


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def agreement_sentence(counts: AgreementCounts, noun: str) -> str:
    total = counts.both + counts.teacher_only + counts.student_only + counts.neither
    return (
        f"Of {total:,} test {noun} both are right on {counts.both:,}, the teacher alone on {counts.teacher_only:,}, "
        f"the student alone on {counts.student_only:,} and neither on {counts.neither:,}, of which they give "
        f"{counts.same_mistake:,} the same wrong class."
    )
