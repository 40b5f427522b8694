"""Small pieces that the networks of the zoo and of the search spaces share."""

from __future__ import annotations

from torch import nn


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps height and width, divided by `stride` and rounded up. `kernel` is odd."""
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


def global_pool() -> nn.Sequential:
    """Maps (batch, channels, height, width) to their spatial means (batch, channels)."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))


def initialise(model: nn.Module) -> None:
    """He initialisation of every convolution, keeping the variance of what is propagated back (fan out).

    He, Zhang, Ren, Sun. Delving Deep into Rectifiers. 2015. arXiv:1502.01852, equation 14. Other layers keep what
    torch gives them: batch normalisation one and zero, linear layers a uniform draw.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
