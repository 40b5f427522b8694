"""The number of multiply-adds of one image: like the parameter count, a baseline that a proxy has to beat."""

from __future__ import annotations

from torch import nn

from automl_kd.models.cost import count
from automl_kd.proxies.base import Probe


def macs(student: nn.Module, probe: Probe) -> float:
    """Multiply-adds of the student's forward pass on one image of the task's shape."""
    return float(count(student, probe.shape).macs)
