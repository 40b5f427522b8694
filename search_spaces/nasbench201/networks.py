"""The networks of NAS-Bench-201: equal cells of four nodes in three stages, a residual block between stages.

Dong, Yang. NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search. 2020. arXiv:2001.00326,
section 2.1 and figure 1. Parameters and multiply-adds agree with the published table at C = 16, N = 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from automl_kd.models.blocks import convolution, global_pool
from automl_kd.models.features import FeatureLayer
from automl_kd.space import InputShape, PreparePart, Values
from search_spaces.nasbench201.notation import EDGES


class Zero(nn.Module):
    """No edge. Multiplies, so that every parameter stays in the autograd graph with a gradient of zero."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 0.0


def activated(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution, batch normalisation."""
    return nn.Sequential(nn.ReLU(), convolution(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs))


MAKE: Mapping[str, Callable[[int], nn.Module]] = {
    "none": lambda _: Zero(),
    "skip_connect": lambda _: nn.Identity(),
    "nor_conv_1x1": lambda channels: activated(channels, channels, 1),
    "nor_conv_3x3": lambda channels: activated(channels, channels, 3),
    "avg_pool_3x3": lambda _: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
}


class Cell(nn.Module):
    """Four nodes; the first is the input, the last the output, all of `channels` maps."""

    def __init__(self, values: Values, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleDict({edge: MAKE[str(values[edge])](channels) for edge in EDGES})

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        for target in (1, 2, 3):
            arriving = [self.edges[f"{target}<-{source}"](nodes[source]) for source in range(target)]
            nodes.append(sum(arriving[1:], start=arriving[0]))
        return nodes[3]


class Reduction(nn.Module):
    """A residual block of stride 2 that changes the width; its shortcut averages before it projects."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(activated(inputs, outputs, 3, stride=2), activated(outputs, outputs, 3))
        # ceil_mode matches the convolution's rounding where height or width is odd.
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), convolution(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x) + self.shortcut(x)
        return out


def run_part(part: nn.Module, x: Tensor) -> Tensor:
    made: Tensor = part(x)
    return made


def make_fresh(_name: str, make: Callable[[], nn.Module]) -> nn.Module:
    return make()


def make_stem(inputs: int, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution(inputs, channels, 3), nn.BatchNorm2d(channels))


def make_head(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())


class CellNetwork(nn.Module):
    """Stem, three stages of N cells at C, 2C and 4C channels, classifier.

    `cell`: makes the cell at a module path with so many channels. `part`: makes or finds everything else, by path.
    A stage ends in a sum, not an activation, so there are no feature layers "stage1.pre". `begin`: runs the stem.
    """

    def __init__(
        self,
        cell: Callable[[str, int], nn.Module],
        shape: InputShape,
        *,
        C: int,
        N: int,
        part: PreparePart = make_fresh,
    ) -> None:
        super().__init__()

        def wider(stage: str, channels: int) -> nn.Sequential:
            first = part(f"{stage}.0", partial(Reduction, channels // 2, channels))
            return nn.Sequential(first, *[cell(f"{stage}.{number}", channels) for number in range(1, N + 1)])

        self.begin: Callable[[nn.Module, Tensor], Tensor] = run_part
        self.stem = part("stem", partial(make_stem, shape.channels, C))
        self.stage1 = nn.Sequential(*[cell(f"stage1.{number}", C) for number in range(N)])
        self.stage2 = wider("stage2", 2 * C)
        self.stage3 = wider("stage3", 4 * C)
        self.head = part("head", partial(make_head, 4 * C))
        self.pool = part("pool", global_pool)
        self.fc = part("fc", partial(nn.Linear, 4 * C, shape.classes))
        self.feature_layers = {name: FeatureLayer(name) for name in ("stem", "stage1", "stage2", "stage3")}
        self.feature_layers |= {"pre_pool": FeatureLayer("pool", "input"), "pooled": FeatureLayer("pool")}

    def forward(self, x: Tensor) -> Tensor:
        maps = self.stage3(self.stage2(self.stage1(self.begin(self.stem, x))))
        logits: Tensor = self.fc(self.pool(self.head(maps)))
        return logits


def build_cell_network(values: Values, shape: InputShape, *, C: int, N: int) -> CellNetwork:
    """The network as the benchmark trains it, with a module on every edge, freshly initialised."""
    return CellNetwork(lambda _path, channels: Cell(values, channels), shape, C=C, N=N)


def network_cost(values: Values, shape: InputShape, *, C: int, N: int) -> tuple[int, int]:
    """Parameters and multiply-adds for one image of `build_cell_network`, dead edges included, without building it.

    The benchmark's FLOPs are the multiply-adds and the classifier's biases.
    """
    chosen = [values[edge] for edge in EDGES]
    narrow, wide = chosen.count("nor_conv_1x1"), chosen.count("nor_conv_3x3")
    height, width = shape.height, shape.width
    # batch normalisation: 2 parameters a channel, no multiply-adds
    params = 9 * shape.channels * C + 2 * C
    macs = 9 * shape.channels * C * height * width
    for channels in (C, 2 * C, 4 * C):
        weights = N * (narrow + 9 * wide) * channels**2
        norms = N * (narrow + wide)
        if channels > C:
            height, width = (height + 1) // 2, (width + 1) // 2
            weights += (9 + 1) * (channels // 2) * channels + 9 * channels**2
            norms += 2
        params += weights + 2 * channels * norms
        macs += weights * height * width
    return params + 2 * 4 * C + 4 * C * shape.classes + shape.classes, macs + 4 * C * shape.classes
