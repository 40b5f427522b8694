"""SNIP: how much the loss feels the removal of each single weight.

Lee, Ajanthan, Torr. SNIP: Single-shot Network Pruning based on Connection Sensitivity. 2019. arXiv:1810.02340, section
4; summed over a network as a proxy by Abdelfattah, Mehrotra, Dudziak, Lane. Zero-Cost Proxies for Lightweight NAS.
2021. arXiv:2101.08134, section 3.2. The paper differentiates by a mask c that multiplies the weights, at c = 1, where
dL/dc is w dL/dw; so no mask is needed here. The sensitivities are not divided by their sum, which would make every
network's 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from automl_kd.proxies.base import Shared
from automl_kd.proxies.passes import Passes


def snip(passes: Passes) -> Tensor:
    """The sum of |w dL/dw| over convolutional, linear and recurrent weights w, with L the mean cross entropy."""
    return torch.stack([(weight * gradient).abs_().sum() for weight, gradient in passes.weight_gradients]).sum()


SNIP = Shared(snip, sees=("weight_gradients",))
