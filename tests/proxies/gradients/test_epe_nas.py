from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from automl_kd.proxies.gradients.epe_nas import EPE_NAS, epe_nas_score
from automl_kd.proxies.gradients.jacob_cov import K
from tests.proxies.examples import linear, vectors

# Correlation 1/2, as the centred rows are (-1, 0, 1) and (-1, 1, 0).
ROWS = torch.tensor([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
ITSELF, PAIR = math.log(1 + K), math.log(0.5 + K)


def test_one_class_by_hand():
    # Two entries of 1 and two of 1/2.
    found = epe_nas_score(ROWS, torch.tensor([3, 3]), 10)
    assert float(found) == pytest.approx(abs(2 * ITSELF + 2 * PAIR))


def test_pairs_of_two_classes_do_not_count():
    found = epe_nas_score(ROWS, torch.tensor([3, 4]), 10)
    assert float(found) == pytest.approx(2 * ITSELF)


def test_many_classes_are_compared_with_each_other():
    # Classes 0 (the pair), 1 (a row twice) and 2 (one image, left out). e_0 = (2 log 1 + 2 log 1/2)/2, e_1 = 2 log 1,
    # but for k. Both differences e_0 - e_1 and e_1 - e_0, over two classes.
    rows = torch.cat([ROWS, ROWS[:1], ROWS[:1], ROWS[1:]])
    found = epe_nas_score(rows, torch.tensor([0, 0, 1, 1, 2]), 120)
    assert float(found) == pytest.approx(abs(ITSELF + PAIR - 2 * ITSELF))


def test_of_single_images_only_the_score_is_zero():
    assert float(epe_nas_score(ROWS, torch.tensor([0, 1]), 120)) == 0


@given(seed=st.integers(0, 2**31), classes=st.sampled_from([3, 101]))
def test_it_equals_class_by_class_correlation(seed: int, classes: int):
    rng = np.random.default_rng(seed)
    rows, labels = rng.standard_normal((9, 6)), rng.integers(3, size=9)
    scores = []
    for label in np.unique(labels):
        members = rows[labels == label]
        if classes > 100 and len(members) == 1:
            continue
        total = np.log(np.abs(np.corrcoef(members)) + K).sum()
        scores.append(total / len(members) if classes > 100 else total)
    e = np.array(scores)
    expected = np.abs(e[:, None] - e).sum() / len(e) if classes > 100 else np.abs(e).sum()
    found = epe_nas_score(torch.from_numpy(rows), torch.from_numpy(labels), classes)
    assert float(found) == pytest.approx(float(expected))


def test_the_jacobian_of_a_rectifier_by_hand():
    # As for jacob_cov: image 1 sees the row (1, 2, 3), image 2 the row (1, 3, 2).
    network = nn.Sequential(nn.Flatten(), linear([1, 2, 3], [1, 3, 2]), nn.ReLU(), linear([1, 1], [0, 0]))
    images = [0.0, -2.0, 2.0], [0.0, 2.0, -2.0]
    assert EPE_NAS(network, vectors(*images, labels=[1, 1])) == pytest.approx(abs(2 * ITSELF + 2 * PAIR))
    assert EPE_NAS(network, vectors(*images, labels=[0, 1])) == pytest.approx(2 * ITSELF)
