"""What a search makes of a teacher of whom one tap is noise and another knows more than the labels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.models.features import FeatureExtractor, Outputs
from tests.methods.distpro.test_step import SGD, case


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
        labels = torch.where(torch.arange(size) % 2 == 0, torch.randint(3, (size,), generator=generator), labels)
    return Batch(images, labels, torch.arange(size), epoch=1)


@pytest.mark.slow
def test_a_useless_pathway_loses_weight_and_a_useful_one_gains():
    made = case(
        replace(SGD, lr=0.05),
        stages="stem+logits",
        connect="same",
        lr=0.05,
        guide=lambda tapped: Planted(tapped),  # type: ignore[arg-type, return-value]
    )
    step = replace(made.step, outer=lambda number: planted_batch(32, 5000 + number, wrong=False))
    start = made.weighting.strengths()
    for number in range(40):
        step(made.run, planted_batch(32, number, wrong=True), number)
    noise, labels = (made.weighting.strengths() - start).tolist()
    assert noise < -0.02
    assert labels > 0.02
