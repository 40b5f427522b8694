"""Whether somebody wrote over a tensor: read off torch's version counter, on the host, without a wait for the device.

Every operation in place raises the counter, with and without autograd. Inference tensors have none.
"""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor, nn


def version_of(x: Tensor) -> int | None:
    """How often somebody wrote into the memory of `x`; None if nobody counts."""
    return None if x.is_inference() else x._version


def written_over(x: Tensor, version: int | None) -> bool:
    """Whether anybody has written into `x` since it had this version; False if nobody counts."""
    return version is not None and x._version != version


def counted_copy(x: Tensor) -> Tensor:
    """A copy with the same strides, in the graph of `x`, with a version counter even in inference mode."""
    with torch.inference_mode(mode=False):
        return x.clone()


def kind_of_pass(model: nn.Module, x: Tensor) -> Hashable:
    """What decides where a network writes: its mode and the form of its images, but not what they show."""
    return model.training, torch.is_grad_enabled(), x.dtype, x.device, x.shape, x.stride()
