"""Counts of batches that normalisations keep: on the processor, wherever the network lies.

Each `nn.BatchNorm2d` counts the batches that it has seen. On a GPU that is an operator for each layer and step, which a
small network waits for, although nobody reads the count where a momentum is set.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase


def count_on_processor(network: nn.Module) -> None:
    """Move the counts alone. They stay buffers, in state dicts as before."""
    for module in network.modules():
        if isinstance(module, _NormBase) and module.num_batches_tracked is not None:
            module.num_batches_tracked = module.num_batches_tracked.cpu()
