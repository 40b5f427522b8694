"""The quick batch normalisation is batch normalisation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from automl_kd.models.fast_norm import ROW_WIDTH, QuickNorm, quicken, suits


def channels_last(*shape: int) -> Tensor:
    return (torch.randn(shape) * 3 + 1).contiguous(memory_format=torch.channels_last)


def drawn(channels: int) -> QuickNorm:
    norm = QuickNorm(channels, eps=1e-5)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    return norm


def exact(norm: QuickNorm, x: Tensor) -> Tensor:
    return nn.functional.batch_norm(
        x.double(), None, None, norm.weight.double(), norm.bias.double(), training=True, eps=norm.eps
    )


@pytest.mark.parametrize("shape", [(4, 1, 8, 16), (8, 16, 8, 8), (3, 32, 4, 4), (5, 64, 2, 3), (2, 128, 3, 3)])
def test_values_and_gradients_are_those_in_double_precision(shape: tuple[int, ...]) -> None:
    x, norm, slope = channels_last(*shape).requires_grad_(), drawn(shape[1]), channels_last(*shape)
    assert suits(x)
    made = norm(x)
    assert made.is_contiguous(memory_format=torch.channels_last)
    expected = exact(norm, x)
    torch.testing.assert_close(made.double(), expected, rtol=1e-5, atol=1e-5)
    inputs = [x, norm.weight, norm.bias]
    found = torch.autograd.grad(made, inputs, slope)
    wanted = torch.autograd.grad(expected, inputs, slope.double())
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_as_near_to_the_exact_values_as_short_sums_are() -> None:
    # Sums of 65,536 numbers are made of short ones: values up to 5 were 4e-6 off, some 14 roundings of 2**-24, and
    # torch's own 3e-5, with kernels of AVX-512, of AVX2 and without any.
    x, norm = channels_last(64, 16, 32, 32), QuickNorm(16, eps=1e-5)
    assert (norm(x) - exact(norm, x)).abs().max() < 1e-5


def test_only_what_is_asked_for_has_a_gradient() -> None:
    x, norm = channels_last(8, 16, 4, 4).requires_grad_(), drawn(16).requires_grad_(False)
    norm(x).sum().backward()
    assert x.grad is not None
    assert norm.weight.grad is None


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(torch.randn(4, 16, 8, 8), id="channels first"),
        pytest.param(channels_last(4, 24, 8, 8), id="channels that do not divide the width"),
        pytest.param(channels_last(1, 16, 3, 3), id="no whole number of rows"),
        pytest.param(channels_last(4, 16, 8, 8).double(), id="double precision"),
    ],
)
def test_other_maps_are_left_to_the_library(x: Tensor) -> None:
    norm = drawn(x.shape[1]).to(x.dtype)
    assert not suits(x)
    expected = nn.functional.batch_norm(x, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
    assert torch.equal(norm(x), expected)


@torch.no_grad()
def test_written_over_the_values_are_the_same_to_the_last_bit() -> None:
    x, norm = channels_last(8, 16, 4, 4), drawn(16)
    expected = norm(x)
    made = norm.over(x)
    assert torch.equal(made, expected)
    assert made.data_ptr() == x.data_ptr()


def test_an_activation_may_be_written_over_it() -> None:
    x, norm = channels_last(8, 16, 4, 4).requires_grad_(), drawn(16)
    one, two = (nn.functional.relu(norm(x), inplace=inplace) for inplace in (False, True))
    slopes = [torch.autograd.grad(made.square().sum(), x)[0] for made in (one, two)]
    assert torch.equal(one, two)
    assert torch.equal(*slopes)


@pytest.mark.parametrize("x", [channels_last(8, 16, 4, 4), torch.randn(4, 16, 8, 8)], ids=["quick", "library"])
def test_variances_are_noted_whichever_way_it_runs(x: Tensor) -> None:
    norm, noted = drawn(16), list[Tensor]()
    norm(x)
    norm.noted = noted
    norm(x)
    with torch.no_grad():
        norm(x)
        norm.over(x.clone(memory_format=torch.preserve_format))
        assert norm(torch.zeros_like(x)).shape == x.shape
    norm.noted = None
    norm(x)
    *same, nothing = noted
    assert len(same) == 3
    for one in same:
        torch.testing.assert_close(one, x.var((0, 2, 3)))
    assert not nothing.any()


def test_quickened_modules_keep_their_parameters() -> None:
    module = nn.Sequential(nn.Conv2d(3, ROW_WIDTH // 8, 3), nn.Sequential(nn.BatchNorm2d(ROW_WIDTH // 8, eps=1e-3)))
    before = dict(module.named_parameters())
    quicken(module)
    after = dict(module.named_parameters())
    assert [id(one) for one in after.values()] == [id(one) for one in before.values()]
    norm = module.get_submodule("1.0")
    assert isinstance(norm, QuickNorm)
    assert norm.eps == 1e-3
