"""LogSynFlow: synaptic flow with gradients tamed by a logarithm, so that deep paths do not decide alone.

Cavagnero, Robbiano, Caputo, Averta. FreeREA: Training-Free Evolution-based Architecture Search. 2023. arXiv:2207.05135,
section 3.2: each weight is multiplied by log(1 + gradient) instead of the gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from automl_kd.proxies.base import Shared
from automl_kd.proxies.hooks import require_convolutions
from automl_kd.proxies.passes import Passes


def logsynflow(passes: Passes) -> Tensor:
    """The sum of |w| log(1 + dR/d|w|) over convolutional and linear weights w; R as in `Passes.synaptic_flow`."""
    require_convolutions(passes.student, "logsynflow", "measures what flows from an image of ones through convolutions")
    return torch.stack([(weight * gradient.log1p()).sum() for weight, gradient in passes.synaptic_flow]).sum()


LOGSYNFLOW = Shared(logsynflow)
