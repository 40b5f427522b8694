"""GraSP: how much the removal of weights would weaken the gradient that is to train the rest.

Wang, Zhang, Grosse. Picking Winning Tickets Before Training by Preserving Gradient Flow. 2020. arXiv:2002.07376,
section 4.1, equation 8; summed over a network as a proxy by Abdelfattah, Mehrotra, Dudziak, Lane. Zero-Cost Proxies for
Lightweight NAS. 2021. arXiv:2101.08134, section 3.2, of whose released code this is the sign. The paper divides the
logits by a temperature of 200 and takes ten images of each class; here as there the temperature is 1 and the batch is
the one that all proxies see.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.backends import cudnn
from torch.nn.attention import SDPBackend, sdpa_kernel

from automl_kd.proxies.base import Shared
from automl_kd.proxies.hooks import RECURRENT
from automl_kd.proxies.passes import Passes, layer_weights, with_gradient
from automl_kd.proxies.smooth_norm import twice_differentiable


def grasp(passes: Passes) -> Tensor:
    """-w^T H g over all layers' weights w, with gradient g and Hessian H of the mean cross entropy.

    Rectifiers are taken for the linear maps that they are around the batch. The pass is its own, since no other needs
    a backward pass that can be differentiated.
    """
    student, probe = passes.student, passes.probe
    weights = layer_weights(student)
    with torch.enable_grad(), twice_differentiable(student), unfused(student):
        loss = F.cross_entropy(student(probe.images), probe.labels)
        found = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
        length = torch.stack([gradient.square().sum() for gradient in found if gradient is not None]).sum() / 2
    # H g is the gradient of g^T g / 2.
    products = torch.autograd.grad(length, weights, allow_unused=True)
    pairs = with_gradient((weight.detach(), product) for weight, product in zip(weights, products, strict=True))
    return -torch.stack([(weight * product).sum() for weight, product in pairs]).sum()


@contextmanager
def unfused(student: nn.Module) -> Iterator[None]:
    """Attention, and recurrent layers on a GPU, by operations that have a second derivative."""
    recurrent = any(isinstance(module, RECURRENT) for module in student.modules())
    with sdpa_kernel(SDPBackend.MATH), cudnn.flags(enabled=False) if recurrent else nullcontext():
        yield


GRASP = Shared(grasp)
