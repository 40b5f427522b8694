"""Networks as people write them, in ways that other networks are not: named by `tests.strange:NAME`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.models.features import FeatureLayer
from automl_kd.space import InputShape


class Body(nn.Module):
    """Convolution, batch norm, rectifier in place, mean, classifier."""

    def __init__(self, shape: InputShape, width: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv2d(shape.channels, width, 3, padding=1)
        self.norm, self.relu = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.classifier = nn.Linear(width, shape.classes)

    def maps(self, x: Tensor) -> Tensor:
        made: Tensor = self.relu(self.norm(self.conv(x)))
        return made

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.maps(x).mean((2, 3)))
        return logits


class Writing(Body):
    """Brightens its images in place."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(2).add_(1))


class Copying(Body):
    """The same function, on a copy."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clone().mul_(2).add_(1))


class Sometimes(Body):
    """Writes into its images from the second pass on."""

    passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return super().forward(x.add_(1) if self.passes > 1 else x + 1)


class FixedSize(Body):
    """Takes images of 12x12 only, as vision transformers take those of one size."""

    def __init__(self, shape: InputShape) -> None:
        super().__init__(shape)
        self.feature_layers = {"pre_pool": FeatureLayer("relu"), "pooled": FeatureLayer("classifier", "input")}

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2] == 12, f"images of {x.shape[2]} pixels, 12 were wanted"
        return super().forward(x)


class Viewing(nn.Module):
    """Flattens by `view`, which wants rows last in memory."""

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(shape.channels, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.classifier = nn.Linear(4 * (shape.height // 2) * (shape.width // 2), shape.classes)

    def forward(self, x: Tensor) -> Tensor:
        maps = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        logits: Tensor = self.classifier(maps.view(-1, self.classifier.in_features))
        return logits


class Twice(Body):
    """Uses a weight once more by hand, which no graph of modules shows."""

    def __init__(self, shape: InputShape) -> None:
        super().__init__(shape)
        self.second, self.last = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)

    def maps(self, x: Tensor) -> Tensor:
        x = super().maps(x)
        made: Tensor = self.last(self.second(x)) + F.conv2d(x, self.second.weight, padding=1)
        return made


class ByHand(Body):
    """Reads a normalisation's bias, which is gone when the normalisation is folded."""

    def maps(self, x: Tensor) -> Tensor:
        return super().maps(x) + self.norm.bias.view(1, -1, 1, 1)


class Checking(Body):
    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(x, Tensor), "images are tensors"
        return super().forward(x) * {1: 1.0, 3: 2.0}[x.shape[1]]


class Settling(nn.Module):
    """Lazy layers alone."""

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        self.conv, self.norm = nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d()
        self.classifier = nn.LazyLinear(shape.classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(F.relu(self.norm(self.conv(x))).flatten(1))
        return logits


class Returning(Body):
    """What `dress` makes of the logits."""

    def __init__(self, shape: InputShape, dress: Callable[[Tensor], object]) -> None:
        super().__init__(shape)
        self.dress = dress

    def forward(self, x: Tensor) -> Tensor:
        return self.dress(super().forward(x))  # type: ignore[return-value]  # the strange thing about it


class Auxiliary(Body):
    """A pair in training alone."""

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return (logits, logits) if self.training else logits  # type: ignore[return-value]  # likewise


def writing(shape: InputShape) -> nn.Module:
    return Writing(shape)


def copying(shape: InputShape) -> nn.Module:
    return Copying(shape)


def viewing(shape: InputShape) -> nn.Module:
    return Viewing(shape)


def twice(shape: InputShape) -> nn.Module:
    return Twice(shape)


def by_hand(shape: InputShape) -> nn.Module:
    return ByHand(shape)


def checking(shape: InputShape) -> nn.Module:
    return Checking(shape)


def normless(shape: InputShape) -> nn.Module:
    """It cannot be traced either, and has nothing to fold."""
    made = Checking(shape)
    for name, module in list(made.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            made.set_submodule(name, nn.Identity())
    return made


def settling(shape: InputShape) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that lazy modules may change
        return Settling(shape)


def auxiliary(shape: InputShape) -> nn.Module:
    return Auxiliary(shape)


def mapping(shape: InputShape) -> nn.Module:
    return Returning(shape, lambda logits: {"loss": logits.sum(), "logits": logits})


def record(shape: InputShape) -> nn.Module:
    return Returning(shape, lambda logits: SimpleNamespace(logits=logits, hidden=None))


def spatial(shape: InputShape) -> nn.Module:
    return Returning(shape, lambda logits: logits[:, :, None, None])


def nameless(shape: InputShape) -> nn.Module:
    return Returning(shape, lambda logits: {"out": logits})


def many_classes(shape: InputShape) -> nn.Module:
    return Body(InputShape(shape.channels, shape.height, shape.width, 1000))


def double(shape: InputShape) -> nn.Module:
    return Body(shape).double()


def double_logits(shape: InputShape) -> nn.Module:
    return Returning(shape, Tensor.double)


def weight_norm(shape: InputShape) -> nn.Module:
    """By the old function, which keeps a computed weight."""
    model = Body(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.nn.utils.weight_norm(model.conv)
    return model


def fixed_size(shape: InputShape) -> nn.Module:
    return FixedSize(shape)
