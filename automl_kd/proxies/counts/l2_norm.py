"""L2 norm: the lengths of the weight tensors, the loss and the images left aside.

From the code released with Abdelfattah, Mehrotra, Dudziak, Lane. Zero-Cost Proxies for Lightweight NAS. 2021.
arXiv:2101.08134. As torch draws them, n outputs have weights of length about sqrt(n/3), however many inputs: the score
counts layers, weighted by the square root of their width, and architectures with equally many differ only by the draw.
"""

from __future__ import annotations

import torch
from torch import Tensor

from automl_kd.proxies.base import Shared
from automl_kd.proxies.passes import Passes, layer_weights


def l2_norm(passes: Passes) -> Tensor:
    """The sum over convolutional, linear and recurrent layers of the L2 norms of the layer's weights."""
    return torch.stack([weight.detach().norm() for weight in layer_weights(passes.student)]).sum()


L2_NORM = Shared(l2_norm)
