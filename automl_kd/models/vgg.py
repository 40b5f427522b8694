"""Plain stacks of 3x3 convolutions with batch normalisation, in the small form that distillation papers use.

Simonyan, Zisserman. Very Deep Convolutional Networks for Large-Scale Image Recognition. 2014. arXiv:1409.1556, table 1
(column B is VGG-13). Batch normalisation, one linear layer instead of three, and VGG-8 follow Tian, Krishnan, Isola.
Contrastive Representation Distillation. 2019. arXiv:1910.10699, and its code: there images of 32x32 are pooled three
times, images of 64x64 four times, both to 4x4. Here any image is halved while that leaves at least 4x4.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from automl_kd.models.blocks import convolution, global_pool, initialise
from automl_kd.models.features import FeatureLayer
from automl_kd.space import InputShape

VGGS: Mapping[str, int] = {"vgg8": 1, "vgg13": 2}
"""Name: convolutions in each of the five groups."""

VGG_WIDTHS = (64, 128, 256, 512, 512)
SMALLEST = 4
"""Height and width below which no map is pooled."""

GROUPS = ("stem", "stage1", "stage2", "stage3", "stage4")


class VGG(nn.Module):
    """Five groups of `repeats` convolutions each; the first is the stem, the others begin with a pooling."""

    def __init__(self, shape: InputShape, repeats: int) -> None:
        super().__init__()
        side = min(shape.height, shape.width)
        self.feature_layers = {"pre_pool": FeatureLayer("pool", "input"), "pooled": FeatureLayer("pool")}
        for name, (inputs, outputs) in zip(GROUPS, pairwise((shape.channels, *VGG_WIDTHS)), strict=True):
            pooled = name != "stem" and side // 2 >= SMALLEST
            side = side // 2 if pooled else side
            layers = group(inputs, outputs, repeats, pooled=pooled)
            self.add_module(name, layers)
            self.feature_layers[name] = FeatureLayer(name)
            if name != "stem":
                self.feature_layers[f"{name}.pre"] = FeatureLayer(f"{name}.{len(layers) - 1}", "input")
        self.pool = global_pool()
        self.fc = nn.Linear(VGG_WIDTHS[-1], shape.classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        for name in GROUPS:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.fc(self.pool(x))
        return logits


def group(inputs: int, outputs: int, repeats: int, *, pooled: bool) -> nn.Sequential:
    """An optional pooling, then `repeats` times convolution, normalisation, activation."""
    layers: list[nn.Module] = [nn.MaxPool2d(2)] if pooled else []
    for source in [inputs] + [outputs] * (repeats - 1):
        layers += [convolution(source, outputs, 3), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def zoo_vgg(name: str, shape: InputShape) -> VGG:
    """The network called `name` in `VGGS`."""
    return VGG(shape, VGGS[name])
