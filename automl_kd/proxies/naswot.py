"""NASWOT: an untrained network is promising if its activation patterns tell the images of a batch apart.

Mellor, Turner, Storkey, Crowley. Neural Architecture Search without Training. 2021. arXiv:2006.04647, section 3: the
pattern of an image is the binary code of which rectified units are on, the kernel of two images counts the units on
which their codes agree, and the score is the logarithm of the kernel's determinant.

Code that finds rectifiers by looking for "ReLU" in class names, as code released with several papers does, also meets
the containers so named (`ReLUConvBN`) and counts their layers twice. Here only rectifier modules count, each as often
as it runs.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.proxies.base import Probe

RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU)


def agreement(active: Bool[Tensor, "batch units"]) -> Float[Tensor, "batch batch"]:
    """How many units are in the same state for images i and j: c c^T + (1 - c)(1 - c)^T of the 0-1 codes c.

    With s = 2c - 1, the product s s^T counts agreements minus disagreements, so one product does. Counts are exact in
    float32 below 2^24 units.
    """
    signs = active.to(torch.float32).mul_(2).sub_(1)
    return (signs @ signs.T).add_(active.shape[1]).div_(2)


def naswot(student: nn.Module, probe: Probe) -> float:
    """The log determinant of the kernel summed over all rectifiers; minus infinity if two images share all codes.

    Raises `ConfigError` if no rectifier module runs.
    """
    kernels: list[Tensor] = []

    def record(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        kernels.append(agreement(output.flatten(1) > 0).double())

    for module in student.modules():
        if isinstance(module, RECTIFIERS):
            module.register_forward_hook(record)
    student(probe.images)
    if not kernels:
        raise ConfigError(
            "naswot found no rectifier module in the student, and needs at least one; "
            "write its activations as nn.ReLU modules or leave naswot out"
        )
    sign, log_determinant = torch.linalg.slogdet(torch.stack(kernels).sum(0))
    return float(log_determinant) if float(sign) > 0 else float("-inf")
