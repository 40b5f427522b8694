"""How good several teachers are together: the accuracy of their mean beside that of each, on the same images."""

from __future__ import annotations

import torch
from torch import Tensor

from automl_kd import storage
from automl_kd.data import Dataset, plain_view
from automl_kd.data.counter import draw_words, key
from automl_kd.experiment.preflight.preflight import MAX_IMAGES, STREAM
from automl_kd.experiment.preflight.reading import PASS_BATCH
from automl_kd.models.pickled import label_pickled
from automl_kd.models.teacher_mean import TeacherMean, teacher_label
from automl_kd.models.weights.checkpoint import load_weights
from automl_kd.results import units
from automl_kd.spec import TeacherSpec
from automl_kd.training.trial import build_teacher


def together_sentence(teacher: TeacherSpec, dataset: Dataset) -> str:
    """Accuracies on at most `MAX_IMAGES` validation images: of the mean, and of each of several teachers."""
    rows = torch.argsort(draw_words(key(STREAM), torch.arange(len(dataset.validation))))[:MAX_IMAGES]
    labels = dataset.validation.labels[rows]
    with torch.random.fork_rng(devices=[]):
        network = build_teacher(teacher, dataset).requires_grad_(False).eval()
    assert isinstance(network, TeacherMean)
    outputs = []
    for one, member in zip(teacher.members, network.members, strict=True):
        load_weights(member, storage.local_path(one.checkpoint), one.weights)
        with torch.no_grad():
            pieces = torch.split(rows, PASS_BATCH)
            outputs.append(torch.cat([member(plain_view(dataset, dataset.validation, piece)) for piece in pieces]))
    mean = dataset.task.average(outputs, network.shares, network.temperature)
    each = ", ".join(
        f"{label_pickled(one.model)} {share:.4g} ({right_percent(logits, labels)} % right)"
        for one, share, logits in zip(teacher.members, network.shares, outputs, strict=True)
    )
    return (
        f"{teacher_label(teacher)} together are right on {right_percent(mean, labels)} % of {len(rows):,} validation "
        f"images, with the shares {each}"
    )


def right_percent(logits: Tensor, labels: Tensor) -> str:
    return units.percent(float((logits.argmax(1) == labels).double().mean()))
