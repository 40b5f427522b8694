"""Fisher: how much the loss would rise, to second order, if channels of feature maps were removed.

Theis, Korshunova, Tejani, Huszár. Faster Gaze Prediction with Dense Networks and Fisher Pruning. 2018.
arXiv:1801.05787, section 2; Turner, Crowley, O'Boyle, Storkey, Gray. BlockSwap: Fisher-guided Block Substitution for
Network Compression on a Budget. 2020. arXiv:1906.04113, section 3 rank networks by it; as a proxy, Abdelfattah,
Mehrotra, Dudziak, Lane. Zero-Cost Proxies for Lightweight NAS. 2021. arXiv:2101.08134, section 3.2.

As in the code released with the last, the maps are outputs of convolutions and linear layers, each channel counts once
for every weight that makes it, and the gradient is that of the mean loss, where the papers take each image's own.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from automl_kd.proxies.base import Shared
from automl_kd.proxies.hooks import refuse_recurrence
from automl_kd.proxies.passes import Passes
from automl_kd.proxies.separate import lines


def saliency(output: Float[Tensor, "batch ..."], gradient: Float[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """1/2 of the mean over images of (sum over places of a dL/da)^2, summed over channels, which are axis 1."""
    channels = output.shape[1]
    by_place = lines(output * gradient).sum(1).view(len(output), -1, channels)
    return by_place.sum(1).square().mean(0).sum() / 2


def fisher_score(passes: Passes) -> Tensor:
    """The sum over layers of their channels' saliencies, times the number of weights that make a channel."""
    refuse_recurrence(passes.student, "fisher", "reads outputs of convolutions and linear layers")
    layers = passes.layer_gradients
    return torch.stack([saliency(one.output, one.gradient) * one.weight[0].numel() for one in layers]).sum()


FISHER = Shared(fisher_score, sees=("layer_gradients",))
