"""Plain: what the loss would lose, to first order, if all weights shrank by the same fraction.

The simplest of the pruning scores in the code released with Abdelfattah, Mehrotra, Dudziak, Lane. Zero-Cost Proxies for
Lightweight NAS. 2021. arXiv:2101.08134: snip without the absolute values. Batch normalisation undoes the scale of the
convolution before it, whose part of the sum is therefore 0 but for rounding; what remains is that of layers which none
follows, and depends on the draw of weights more than on the architecture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from automl_kd.proxies.base import Shared
from automl_kd.proxies.passes import Passes


def plain_score(passes: Passes) -> Tensor:
    """The sum of w dL/dw over convolutional, linear and recurrent weights w, with L the mean cross entropy."""
    return torch.stack([(weight * gradient).sum() for weight, gradient in passes.weight_gradients]).sum()


PLAIN_PROXY = Shared(plain_score, sees=("weight_gradients",))
