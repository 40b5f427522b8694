"""Mean and standard deviation of bytes: exact sums, so that views are the same on every processor."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from automl_kd.data import dataset as sets
from automl_kd.data.dataset import mean_and_std


def test_two_channels_by_hand():
    # the first is half black and half white: mean 1/2, every distance 1/2; the second is one grey, without spread
    images = torch.tensor([[0, 51], [255, 51], [255, 51], [0, 51]], dtype=torch.uint8).view(4, 2, 1, 1)
    assert mean_and_std(images) == ((0.5, 0.2), (0.5, 1.0))


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_the_nearest_numbers_in_whatever_order_and_pieces(monkeypatch, chunk):
    monkeypatch.setattr(sets, "DIGEST_CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (60, 1, 5, 3), dtype=torch.uint8, generator=generator)
    (mean,), (std,) = mean_and_std(images[torch.randperm(60, generator=generator)])
    shares = [Fraction(shade, 255) for shade in images.flatten().tolist()]
    exact = sum(shares) / len(shares)
    assert mean == float(exact)
    variance = sum((one - exact) ** 2 for one in shares) / len(shares)
    assert std**2 == pytest.approx(float(variance), rel=2**-51)  # of the root, of a quotient, and of the square
