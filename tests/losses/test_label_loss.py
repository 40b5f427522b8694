"""The loss on labels: shares of a mixed image by hand, binary cross entropy as timm computes it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from timm.loss import BinaryCrossEntropy
from torch import Tensor

from automl_kd.data import UNLABELLED, Batch
from automl_kd.losses.cross_entropy import CrossEntropy, label_loss
from automl_kd.losses.weighted_sum import read_mix
from automl_kd.spec import Recipe

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS, SECOND = torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([1, 1, 3, 0, 2, 2])


def batch(labels: Tensor = LABELS, second: Tensor | None = None, share: float = 1.0) -> Batch:
    return Batch(torch.zeros(6, 1, 2, 2), labels, torch.arange(6), 1, second_labels=second, share=share)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_a_mix_is_that_of_its_mixed_target(smoothing):
    target = 0.3 * F.one_hot(LABELS, 4) + 0.7 * F.one_hot(SECOND, 4)
    expected = F.cross_entropy(LOGITS, target.double(), label_smoothing=smoothing)
    found = label_loss(LOGITS, batch(second=SECOND, share=0.3), label_smoothing=smoothing)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_all_or_nothing_is_one_label(share):
    found = label_loss(LOGITS, batch(second=SECOND, share=share))
    torch.testing.assert_close(found, F.cross_entropy(LOGITS, LABELS if share else SECOND))


def test_a_batch_without_mixes_has_the_loss_of_earlier_releases():
    assert torch.equal(
        label_loss(LOGITS, batch(), label_smoothing=0.1), F.cross_entropy(LOGITS, LABELS, label_smoothing=0.1)
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy_is_that_of_timm(smoothing):
    expected = BinaryCrossEntropy(smoothing=smoothing)(LOGITS, LABELS)
    torch.testing.assert_close(label_loss(LOGITS, batch(), "bce", smoothing), expected)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_of_a_mix_every_class_above_a_fifth_is_present(share):
    target = share * F.one_hot(LABELS, 4) + (1 - share) * F.one_hot(SECOND, 4)
    expected = BinaryCrossEntropy(smoothing=0.0, target_threshold=0.2)(LOGITS, target.double())
    torch.testing.assert_close(label_loss(LOGITS, batch(second=SECOND, share=share), "bce"), expected)


@pytest.mark.parametrize("form", ["ce", "bce"])
def test_images_without_a_label_add_nothing(form):
    missing = torch.tensor([True, False, False, True, False, False])
    labels, second = (one.masked_fill(missing, UNLABELLED) for one in (LABELS, SECOND))
    kept = Batch(
        torch.zeros(4, 1, 2, 2), LABELS[~missing], torch.arange(4), 1, second_labels=SECOND[~missing], share=0.4
    )
    found = label_loss(LOGITS, batch(labels, second, 0.4), form, unlabelled=True)
    torch.testing.assert_close(found, label_loss(LOGITS[~missing], kept, form) * 4 / 6)


def test_a_sum_takes_the_loss_of_the_recipe_unless_it_names_its_own():
    recipe = Recipe(loss="bce", label_smoothing=0.2)
    losses = {part.name: part.loss for part in read_mix("kd", recipe=recipe).parts}
    assert losses["ce"] == CrossEntropy(label_smoothing=0.2, form="bce")
    own = {part.name: part.loss for part in read_mix("kd, ce.form=ce", recipe=recipe).parts}
    assert own["ce"] == CrossEntropy(label_smoothing=0.2)
