"""Gradient norm: how strongly one batch pulls at the weights of an untrained network.

Abdelfattah, Mehrotra, Dudziak, Lane. Zero-Cost Proxies for Lightweight NAS. 2021. arXiv:2101.08134, section 3.2. As in
the code released with it, the norm is taken of each layer's weights and summed over convolutional and linear layers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from automl_kd.proxies.base import Probe


def grad_norm(student: nn.Module, probe: Probe) -> float:
    """The sum over layers of the L2 norm of d(cross entropy)/d(weight), batch normalisation in training mode.

    Weights that the logits do not depend on count 0.
    """
    weights = [module.weight for module in student.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    loss = F.cross_entropy(student(probe.images), probe.labels)
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    norms = [gradient.norm() for gradient in gradients if gradient is not None]
    return float(torch.stack(norms).sum())
