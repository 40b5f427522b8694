"""Networks that exporters could get wrong."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.space import InputShape
from tests import tiny


class Halved(tiny.Net):
    """Computes in bfloat16, whatever it is given, and returns that."""

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return super().forward(images)


class AlwaysTraining(tiny.Net):
    """Whose batch normalisation never leaves training mode, as one without running statistics."""

    def __init__(self, shape: InputShape, width: int) -> None:
        super().__init__(shape, width)
        self.norm = nn.BatchNorm2d(width, track_running_stats=False)


class InPlace(tiny.Net):
    """Writes into its images, and drops by hand, which evaluation mode must end."""

    def forward(self, images: Tensor) -> Tensor:
        images.mul_(0.5)
        return super().forward(F.dropout(images, 0.2, self.training))


class OwnSize(tiny.Net):
    """Resizes its images itself."""

    def forward(self, images: Tensor) -> Tensor:
        larger = F.interpolate(images, scale_factor=2.0, mode="bilinear", antialias=True)
        return super().forward(larger).view(images.shape[0], -1)


class BatchFixed(tiny.Net):
    """Whose trace has the number of images as a constant."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).view(len(images), -1)


class Named(tiny.Net):
    """Returns its logits in a mapping, as networks of transformers do."""

    def forward(self, images: Tensor) -> Tensor:
        return {"logits": super().forward(images)}  # type: ignore[return-value]
