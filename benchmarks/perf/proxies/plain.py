"""Ten proxies as one would first write them: each runs its own passes of a network that it may spoil.

The other side of `bank.py`, naive on purpose: nothing is shared, hooks and eigenvalues where the formulas have them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

K = 1e-5

Plain = Callable[[nn.Module, Tensor, Tensor], float]


def layers(student: nn.Module) -> list[nn.Module]:
    return [module for module in student.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


def gradients(student: nn.Module, images: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Weights and their gradients after a forward and a backward pass."""
    student.zero_grad()
    torch.autograd.backward(F.cross_entropy(student(images), labels))
    weights = [module.get_parameter("weight") for module in layers(student)]
    pairs = [(weight.detach(), weight.grad.clone()) for weight in weights if weight.grad is not None]
    student.zero_grad()
    return pairs


def l2_norm(student: nn.Module, _images: Tensor, _labels: Tensor) -> float:
    return sum(float(module.get_parameter("weight").detach().norm()) for module in layers(student))


def grad_norm(student: nn.Module, images: Tensor, labels: Tensor) -> float:
    return sum(float(gradient.norm()) for _, gradient in gradients(student, images, labels))


def plain(student: nn.Module, images: Tensor, labels: Tensor) -> float:
    return sum(float((weight * gradient).sum()) for weight, gradient in gradients(student, images, labels))


def snip(student: nn.Module, images: Tensor, labels: Tensor) -> float:
    return sum(float((weight * gradient).abs().sum()) for weight, gradient in gradients(student, images, labels))


def fisher(student: nn.Module, images: Tensor, labels: Tensor) -> float:
    made: list[tuple[nn.Module, Tensor]] = []
    hooks = [
        module.register_forward_hook(lambda one, _given, output: made.append((one, output)))
        for module in layers(student)
    ]
    loss = F.cross_entropy(student(images), labels)
    for hook in hooks:
        hook.remove()
    total = 0.0
    for (module, output), gradient in zip(
        made, torch.autograd.grad(loss, [one for _, one in made], allow_unused=True), strict=True
    ):
        if gradient is not None:
            sums = (output * gradient).detach().flatten(2).sum(2) if output.ndim > 2 else (output * gradient).detach()
            total += float(sums.square().mean(0).sum() / 2) * module.get_parameter("weight")[0].numel()
    return total


def zico(student: nn.Module, images: Tensor, labels: Tensor) -> float:
    halves = zip(images.chunk(2), labels.chunk(2), strict=True)
    one, other = (gradients(student, *half) for half in halves)
    total = 0.0
    for (_, first), (_, second) in zip(one, other, strict=True):
        both = torch.stack([first, second])
        spread, size = both.std(0, correction=0), both.abs().mean(0)
        ratios = size[spread > 0] / spread[spread > 0]
        total += float(ratios.sum().log()) if len(ratios) else 0.0
    return total


def jacobian(student: nn.Module, images: Tensor) -> NDArray[np.float64]:
    """Correlations of the gradients of the summed logits by the images."""
    x = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(student(x).sum(), x)
    correlations: NDArray[np.float64] = np.corrcoef(found.flatten(1).double().numpy())
    return correlations


def jacob_cov(student: nn.Module, images: Tensor, _labels: Tensor) -> float:
    v = np.linalg.eigvals(jacobian(student, images)).real + K
    return -float((np.log(v) + 1 / v).sum())


def epe_nas(student: nn.Module, images: Tensor, labels: Tensor) -> float:
    correlations, classes = jacobian(student, images), labels.numpy()
    own = [correlations[np.ix_(classes == label, classes == label)] for label in np.unique(classes)]
    return float(sum(abs(np.log(np.abs(one) + K).sum()) for one in own))


def synflow(student: nn.Module, images: Tensor, _labels: Tensor) -> float:
    # A network of its own, since all of it is overwritten.
    network = copy_without_norms(student).double()
    for parameter in network.parameters():
        parameter.data.abs_()
    torch.autograd.backward(network(torch.ones_like(images[:1], dtype=torch.float64)).sum())
    weights = [module.get_parameter("weight") for module in layers(network)]
    return float(np.log(sum(float((one.detach() * one.grad).sum()) for one in weights if one.grad is not None)))


def copy_without_norms(student: nn.Module) -> nn.Module:
    network = copy.deepcopy(student)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    return network


def naswot(student: nn.Module, images: Tensor, _labels: Tensor) -> float:
    kernel = torch.zeros(len(images), len(images))

    def add(_module: nn.Module, _given: tuple[Tensor, ...], made: Tensor) -> None:
        code = (made.detach().flatten(1) > 0).float()
        kernel.add_(code @ code.T + (1 - code) @ (1 - code).T)

    hooks = [module.register_forward_hook(add) for module in student.modules() if isinstance(module, nn.ReLU)]
    student(images)
    for hook in hooks:
        hook.remove()
    return float(torch.linalg.slogdet(kernel.double()).logabsdet)


PLAIN: Mapping[str, Plain] = {
    "l2_norm": l2_norm,
    "grad_norm": grad_norm,
    "plain": plain,
    "snip": snip,
    "fisher": fisher,
    "zico": zico,
    "jacob_cov": jacob_cov,
    "epe_nas": epe_nas,
    "synflow": synflow,
    "naswot": naswot,
}
