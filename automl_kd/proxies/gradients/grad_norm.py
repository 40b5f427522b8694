"""Gradient norm: how strongly one batch pulls at the weights of an untrained network.

Abdelfattah, Mehrotra, Dudziak, Lane. Zero-Cost Proxies for Lightweight NAS. 2021. arXiv:2101.08134, section 3.2. As in
the code released with it, the norm is taken of each layer's weights and summed over convolutional and linear layers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from automl_kd.proxies.base import Shared
from automl_kd.proxies.passes import Passes


def grad_norm(passes: Passes) -> Tensor:
    """The sum over layers of the L2 norm of d(cross entropy)/d(weight), batch normalisation in training mode.

    Weights that the logits do not depend on count 0.
    """
    return torch.stack([gradient.norm() for _, gradient in passes.weight_gradients]).sum()


GRAD_NORM = Shared(grad_norm, sees=("weight_gradients",))
