"""Wide residual networks: few layers, many channels, activation before convolution.

Zagoruyko, Komodakis. Wide Residual Networks. 2016. arXiv:1605.07146, table 1, without dropout. WRN-d-k has d
convolutions in its main path, stem included, and widths 16, 16k, 32k, 64k.

Blocks begin with their activation, so a stage ends in a bare sum. Its last activation is therefore the one that
follows it, at the entrance of the next stage or of the classifier: where the width changes, the next stage sees
nothing else. Published distillation code taps the bare sum for some methods; that map is the output of module
"group1", "group2" or "group3", and is available by that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from automl_kd.models.blocks import convolution, global_pool, initialise
from automl_kd.models.features import FeatureLayer
from automl_kd.space import InputShape

WIDE_RESNETS: Mapping[str, tuple[int, int]] = {
    "wrn-16-1": (16, 1),
    "wrn-16-2": (16, 2),
    "wrn-40-1": (40, 1),
    "wrn-40-2": (40, 2),
}
"""Name: depth and widening factor."""

WRN_GROUPS = ("group1", "group2", "group3")


class PreActivation(nn.Module):
    """Normalise, activate, convolve, twice; the shortcut projects the activated map where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU()
        self.body = nn.Sequential(
            convolution(inputs, outputs, 3, stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            convolution(outputs, outputs, 3),
        )
        self.projection = convolution(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu(self.norm(x))
        body: Tensor = self.body(active)
        return body + (x if self.projection is None else self.projection(active))


class WideResNet(nn.Module):
    """`depth` is 6n + 4 for n blocks in each of three stages; `widen` is at least 1."""

    def __init__(self, shape: InputShape, depth: int, widen: int) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6 != 0 or widen < 1:
            raise ValueError(f"a wide residual network needs a depth of 10, 16, 22, ..., got {depth} and widen {widen}")
        blocks = (depth - 4) // 6
        widths = (16, 16 * widen, 32 * widen, 64 * widen)
        self.stem = convolution(shape.channels, widths[0], 3)
        for name, (inputs, outputs) in zip(WRN_GROUPS, pairwise(widths), strict=True):
            first = PreActivation(inputs, outputs, 1 if name == WRN_GROUPS[0] else 2)
            rest = [PreActivation(outputs, outputs, 1) for _ in range(blocks - 1)]
            self.add_module(name, nn.Sequential(first, *rest))
        self.norm = nn.BatchNorm2d(widths[-1])
        self.relu = nn.ReLU()
        self.pool = global_pool()
        self.fc = nn.Linear(widths[-1], shape.classes)
        self.feature_layers = {
            "stem": FeatureLayer("stem"),
            "pre_pool": FeatureLayer("pool", "input"),
            "pooled": FeatureLayer("pool"),
        }
        for number, activation in enumerate(("group2.0.relu", "group3.0.relu", "relu"), start=1):
            self.feature_layers |= {
                f"stage{number}": FeatureLayer(activation),
                f"stage{number}.pre": FeatureLayer(activation, "input"),
            }
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for name in WRN_GROUPS:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.fc(self.pool(self.relu(self.norm(x))))
        return logits


def zoo_wide_resnet(name: str, shape: InputShape) -> WideResNet:
    """The network called `name` in `WIDE_RESNETS`."""
    return WideResNet(shape, *WIDE_RESNETS[name])
