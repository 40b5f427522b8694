"""MobileNet: depthwise separable convolutions in a plain stack.

Howard et al. MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications. 2017.
arXiv:1704.04861, table 1, with ReLU as there. The student of ResNet-50 in the standard comparison on ImageNet.
"""

from __future__ import annotations

from torch import Tensor, nn

from automl_kd.models.blocks import global_pool, initialise
from automl_kd.models.features import FeatureLayer
from automl_kd.models.imagenet.mobile import STAGE_STRIDES, convolved
from automl_kd.space import InputShape

SEPARABLE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""Channels and stride of each separable convolution."""


class MobileNetV1(nn.Module):
    """Feature layers `stage1` to `stage4` are the last maps at strides 4, 8, 16 and 32."""

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        self.stem = convolved(shape.channels, 32, 3, "relu", stride=2)
        self.blocks = nn.Sequential()
        self.feature_layers = {"stem": FeatureLayer("stem")}
        inputs, reduction = 32, 2
        for number, (outputs, stride) in enumerate(SEPARABLE):
            depthwise = convolved(inputs, inputs, 3, "relu", stride, inputs)
            self.blocks.append(nn.Sequential(depthwise, convolved(inputs, outputs, 1, "relu")))
            inputs, reduction = outputs, reduction * stride
            if stage := STAGE_STRIDES.get(reduction):
                self.feature_layers |= {
                    stage: FeatureLayer(f"blocks.{number}"),
                    f"{stage}.pre": FeatureLayer(f"blocks.{number}.1.1"),
                }
        self.pool = global_pool()
        self.fc = nn.Linear(inputs, shape.classes)
        self.feature_layers |= {"pre_pool": FeatureLayer("pool", "input"), "pooled": FeatureLayer("pool")}
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.pool(self.blocks(self.stem(x))))
        return logits
