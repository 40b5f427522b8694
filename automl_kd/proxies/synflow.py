"""SynFlow: the signal that can flow through the weights of a network, data left aside.

Tanaka, Kunin, Yamins, Ganguli. Pruning Neural Networks without Any Data by Iteratively Conserving Synaptic Flow. 2020.
arXiv:2006.05467, section 4; summed over a network as a proxy by Abdelfattah, Mehrotra, Dudziak, Lane. Zero-Cost Proxies
for Lightweight NAS. 2021. arXiv:2101.08134, section 3.2. We return the logarithm, which ranks alike: the sum
grows with the product of all layers' gains and would leave float32 after a few dozen layers.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from automl_kd.proxies.base import Probe

BYPASSED = (nn.BatchNorm1d, nn.BatchNorm2d)


def synflow(student: nn.Module, probe: Probe) -> float:
    """The logarithm of sum |w dR/dw| over convolutional and linear weights w, where R is the sum of the logits.

    All parameters are replaced by their absolute values, the input is one image of ones, and batch normalisation
    passes its input through, for it would scale away what is measured. Computed in float64, on the probe's device.
    Minus infinity if no signal reaches the logits.
    """
    student.double().eval()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.abs_()
    for module in student.modules():
        if isinstance(module, BYPASSED):
            module.register_forward_hook(lambda _module, inputs, _output: inputs[0])
    ones = torch.ones(1, *probe.images.shape[1:], dtype=torch.float64, device=probe.images.device)
    weights = [module.weight for module in student.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    gradients = torch.autograd.grad(student(ones).sum(), weights, allow_unused=True)
    flows = [
        (weight.detach() * gradient).abs().sum()
        for weight, gradient in zip(weights, gradients, strict=True)
        if gradient is not None
    ]
    flow = float(torch.stack(flows).sum())
    return math.log(flow) if flow > 0 else float("-inf")
