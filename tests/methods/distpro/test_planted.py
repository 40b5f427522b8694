"""What a search makes of a teacher of whom one tap is noise and another knows more than the labels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.methods.distpro.process import Process
from automl_kd.methods.distpro.step import Weighting
from automl_kd.models.features import FeatureExtractor, Outputs
from tests.methods.distpro.test_step import SGD, Case, case


class Planted:
    """A teacher whose stem is noise, and whose logits are the labels that the images hide."""

    def __init__(self, tapped: FeatureExtractor) -> None:
        self.model, self.names, self.generator = tapped.model, tapped.names, torch.Generator().manual_seed(5)
        self.tapped = tapped

    def __call__(self, images: Tensor) -> Outputs:
        found = self.tapped(images)
        noise = torch.randn(found.features["stem"].shape, generator=self.generator, dtype=images.dtype)
        return Outputs(6 * F.one_hot(labels_of(images), 3).to(images), {**found.features, "stem": 10 * noise})


def labels_of(images: Tensor) -> Tensor:
    """Which third of the classes' thresholds the upper half's brightness passes."""
    bright = images[:, :, :4].mean(dim=(1, 2, 3))
    return (bright > -0.4).long() + (bright > 0.4).long()


def planted_batch(size: int, seed: int, *, wrong: bool) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 1, 8, 8, generator=generator, dtype=torch.float64) * 0.5
    images += 0.8 * (torch.randint(3, (size,), generator=generator)[:, None, None, None] - 1)
    labels = labels_of(images)
    if wrong:  # half of the training labels, so that the teacher knows better
        drawn = torch.randint(3, (size,), generator=generator)
        labels = torch.where(torch.rand(size, generator=generator) < 0.5, drawn, labels)
    return Batch(images, labels, torch.arange(size), epoch=1)


def planted(lr: float) -> Case:
    """The noisy pathway, then that of the labels."""
    return case(
        replace(SGD, lr=0.05),
        stages="stem+logits",
        connect="same",
        transforms="shared",
        lr=lr,
        guide=lambda tapped: Planted(tapped),  # type: ignore[arg-type, return-value]
    )


def searched(steps: int, lr: float) -> Weighting:
    made = planted(lr)
    step = replace(made.step, outer=lambda number: planted_batch(32, 5000 + number, wrong=False), share=0.5)
    for number in range(steps):
        step(made.run, planted_batch(32, number, wrong=True), number)
    return made.weighting


def loss_after(alpha: Tensor, steps: int, first: int) -> float:
    """Of images that were not trained on, with correct labels, under weights that stand."""
    made = planted(0.0)
    made.weighting.alpha.copy_(alpha)
    step = replace(made.step, interval=10**9)
    for number in range(1, steps + 1):  # a multiple of the interval would move alpha
        step(made.run, planted_batch(32, first + number, wrong=True), number)
    held_out = planted_batch(512, 90_000, wrong=False)
    student = made.run.student.eval()
    with torch.no_grad():
        return F.cross_entropy(student(held_out.inputs), held_out.labels).item()


@pytest.mark.slow
def test_a_useless_pathway_loses_weight_and_a_useful_one_gains():
    found = searched(40, 0.05)
    noise, labels = (found.strengths() - planted(0.05).weighting.strengths()).tolist()
    assert noise < -0.02
    assert labels > 0.02


@pytest.mark.slow
def test_the_search_is_significant_and_its_weights_beat_equal_ones():
    found = searched(60, 0.1)
    mean, error = found.slopes.mean_and_error()
    process = Process(
        pathways=(("stem", "stem", "shared"), ("logits", "logits", "kd")),
        style="scaled",
        kd=1.0,
        steps=60,
        axis=(1.0,),
        alpha=(tuple(found.alpha.tolist()),),
        slopes=tuple(mean),
        errors=tuple(error),
        updates=found.slopes.count,
    )
    assert process.is_significant
    assert mean[1] < -3 * error[1]  # it lowers the held-out loss
    assert found.alpha[0] < found.alpha[1]
    for first in (10_000, 20_000, 30_000):
        assert loss_after(found.alpha, 60, first) < loss_after(torch.ones(2), 60, first)
