"""SynFlow: the signal that can flow through the weights of a network, data left aside.

Tanaka, Kunin, Yamins, Ganguli. Pruning Neural Networks without Any Data by Iteratively Conserving Synaptic Flow. 2020.
arXiv:2006.05467, section 4; summed over a network as a proxy by Abdelfattah, Mehrotra, Dudziak, Lane. Zero-Cost Proxies
for Lightweight NAS. 2021. arXiv:2101.08134, section 3.2. We return the logarithm, which gives the same ranks: the sum
grows with the product of all layers' gains and would leave float32 after a few dozen layers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from automl_kd.proxies.base import Shared
from automl_kd.proxies.hooks import require_convolutions
from automl_kd.proxies.passes import Passes


def synflow(passes: Passes) -> Tensor:
    """The logarithm of sum |w dR/dw| over convolutional and linear weights w, where R is the sum of the logits.

    All parameters are replaced by their absolute values, the input is one image of ones, and batch normalisation
    passes its input through, for it would scale away what is measured. Computed in float64, on the probe's device.
    Minus infinity if no signal reaches the logits.
    """
    require_convolutions(passes.student, "synflow", "measures what flows from an image of ones through convolutions")
    return torch.stack([(weight * gradient).sum() for weight, gradient in passes.synaptic_flow]).sum().log()


SYNFLOW = Shared(synflow)
