from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from automl_kd.proxies.gradients.jacob_cov import JACOB_COV, K, jacobian_correlations, score_of
from tests.proxies.examples import linear, vectors


def of_eigenvalues(*values: float) -> float:
    return -sum(math.log(v + K) + 1 / (v + K) for v in values)


def test_uncorrelated_rows_have_eigenvalues_of_one():
    assert float(score_of(torch.eye(3, dtype=torch.float64))) == pytest.approx(of_eigenvalues(1, 1, 1))


def test_two_rows_by_hand():
    # (1, 2, 3) and (1, 3, 2), centred (-1, 0, 1) and (-1, 1, 0): correlation 1/2, eigenvalues 1/2 and 3/2.
    matrix = jacobian_correlations(torch.tensor([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]]))
    assert matrix[0, 1].item() == pytest.approx(0.5)
    assert float(score_of(matrix)) == pytest.approx(of_eigenvalues(0.5, 1.5))


def test_equal_rows_are_singular_and_finite():
    matrix = jacobian_correlations(torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]))
    assert float(score_of(matrix)) == pytest.approx(of_eigenvalues(0, 2))


@given(seed=st.integers(0, 2**31), rank=st.integers(1, 12))
def test_it_equals_the_sum_over_eigenvalues(seed: int, rank: int):
    generator = torch.Generator().manual_seed(seed)
    matrix = jacobian_correlations(
        torch.randn(8, rank, generator=generator) @ torch.randn(rank, 30, generator=generator)
    )
    eigenvalues = torch.linalg.eigvalsh(matrix).clamp_min(0).tolist()
    assert float(score_of(matrix)) == pytest.approx(of_eigenvalues(*eigenvalues), rel=1e-6)


def test_the_jacobian_of_a_rectifier_by_hand():
    # Hidden unit 1 sees images through (1, 2, 3), unit 2 through (1, 3, 2). Image 1 turns unit 1 on, image 2 unit 2,
    # so the gradients of the summed logits are these rows, whose correlation is 1/2.
    network = nn.Sequential(nn.Flatten(), linear([1, 2, 3], [1, 3, 2]), nn.ReLU(), linear([1, 1], [0, 0]))
    probe = vectors([0, -2, 2], [0, 2, -2], labels=[0, 1])
    assert JACOB_COV(network, probe) == pytest.approx(of_eigenvalues(0.5, 1.5))


def test_an_image_without_effect_has_no_score():
    network = nn.Sequential(nn.Flatten(), linear([1, 2, 3]), nn.ReLU(), linear([1], [0]))
    assert math.isnan(JACOB_COV(network, vectors([1, 1, 1], [-1, -1, -1], labels=[0, 1])))
