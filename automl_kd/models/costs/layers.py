"""What convolutions and linear layers cost, from their sizes alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class ConvolutionSize(NamedTuple):
    """A square convolution. `pixels`: of what it puts out. `norm`: batch normalisation follows. `bias`: it has one."""

    inputs: int
    outputs: int
    kernel: int
    pixels: int
    groups: int = 1
    norm: bool = True
    bias: bool = False

    @property
    def weights(self) -> int:
        return self.inputs * self.outputs * self.kernel**2 // self.groups

    @property
    def params(self) -> int:
        return self.weights + self.outputs * (2 * self.norm + self.bias)

    @property
    def macs(self) -> int:
        return self.weights * self.pixels


def residual_block(
    block: str, inputs: int, inner: int, outputs: int, entering: int, pixels: int
) -> Iterator[ConvolutionSize]:
    """The convolutions of a "basic" block or a bottleneck, which puts the stride into its 3x3 convolution.

    `entering`, `pixels`: of the maps before and after it. Without its shortcut.
    """
    if block == "basic":
        yield ConvolutionSize(inputs, outputs, 3, pixels)
        yield ConvolutionSize(outputs, outputs, 3, pixels)
    else:
        yield ConvolutionSize(inputs, inner, 1, entering)
        yield ConvolutionSize(inner, inner, 3, pixels)
        yield ConvolutionSize(inner, outputs, 1, pixels)


def sum_costs(convolutions: Iterable[ConvolutionSize], features: int, classes: int) -> tuple[int, int]:
    """Parameters, and multiply-adds for one image, of these layers and a linear classifier of `features` inputs."""
    found = list(convolutions)
    params = sum(one.params for one in found) + (features + 1) * classes
    return params, sum(one.macs for one in found) + features * classes


def halve(size: int) -> int:
    """Rows or columns after a stride of 2, rounded up."""
    return -(-size // 2)
