"""Random weights of unit variance, each tensor from a stream of its own.

Dong, Li, Wei. DisWOT: Student Architecture Search for Distillation WithOut Training. 2023. arXiv:2303.15678; the
initialisation is that of the ranking scripts released with it. Drawing every tensor from a stream named after it is
ours: two students then agree in all weights of equal name and shape, and differ only by their architecture.
"""

from __future__ import annotations

import torch
from torch import nn

from automl_kd.seeds import derive

NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def normal_weights(network: nn.Module, *stream: str | int, prefix: str = "") -> None:
    """Draw convolutional and linear weights from N(0, 1); set biases to 0 and normalisation weights to 1, in place.

    `stream` and the module's name decide the draw, the same on every device; for a part of a network, `prefix` is its
    name in the whole. Other parameters keep their values.
    """
    generator = torch.Generator()
    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                generator.manual_seed(derive(*stream, ".".join(filter(None, (prefix, name)))))
                # Drawn in the contiguous layout, whatever that of the weight: the layout orders the values.
                module.weight.copy_(torch.empty(module.weight.shape).normal_(generator=generator))
            elif isinstance(module, NORMALISATIONS) and module.weight is not None:
                module.weight.fill_(1)
            else:
                continue
            if module.bias is not None:
                module.bias.zero_()
