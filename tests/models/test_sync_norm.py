"""Normalization by parts of a batch, by hand; process groups are in tests/training/test_distributed_trials.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from automl_kd.models.sync_norm import SyncNorm2d, share_norms


def shared(pieces: int, momentum: float | None = 0.1) -> tuple[nn.BatchNorm2d, nn.BatchNorm2d]:
    """The same layer twice; the second looks at so many pieces of a batch."""
    layers = [nn.BatchNorm2d(3, momentum=momentum, dtype=torch.float64) for _ in range(2)]
    for layer in layers:
        torch.nn.init.uniform_(layer.weight, generator=torch.Generator().manual_seed(0))
    share_norms(layers[1], pieces)
    return layers[0], layers[1]


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3 + 5


def test_each_piece_is_normalised_by_itself():
    plain, cut = shared(2)
    x = images(8)
    torch.testing.assert_close(cut(x), torch.cat([plain(x[:4]), plain(x[4:])]))


def test_running_statistics_follow_the_mean_of_the_pieces():
    # mean of the pieces' means 2 and 6: 0.1 times 4; variances 0 and 0, from 1: 0.9
    layer = nn.BatchNorm2d(1)
    share_norms(layer, 2)
    layer(torch.tensor([2.0, 2.0, 6.0, 6.0])[:, None, None, None].expand(4, 1, 2, 2))
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert (layer.running_mean.item(), layer.running_var.item()) == pytest.approx((0.4, 0.9))


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("count", [3, 5])  # cannot be cut into two parts of two images or more
def test_what_cannot_be_cut_is_normalised_whole_as_torch_does(count: int, momentum: float | None):
    plain, cut = shared(2, momentum)
    x = images(count)
    for _ in range(2):
        one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
        wanted, found = plain(one), cut(two)
        torch.testing.assert_close(found, wanted)
        wanted.pow(3).sum().backward()
        found.pow(3).sum().backward()
        torch.testing.assert_close(two.grad, one.grad)
    torch.testing.assert_close(cut.state_dict(), plain.state_dict())
    assert plain.weight.grad is not None
    torch.testing.assert_close(cut.weight.grad, plain.weight.grad)


def test_in_evaluation_it_is_the_plain_layer():
    plain, cut = shared(2)
    assert torch.equal(cut.eval()(images(8)), plain.eval()(images(8)))


def test_a_process_alone_keeps_torchs_layers():
    layer = nn.Sequential(nn.BatchNorm2d(3))
    share_norms(layer, 1)
    assert type(layer[0]) is nn.BatchNorm2d
    share_norms(layer, 2)
    assert isinstance(layer[0], SyncNorm2d)
