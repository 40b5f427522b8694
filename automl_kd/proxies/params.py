"""The number of parameters: the baseline that a proxy has to beat.

Larger students of one family tend to be better, so the count itself ranks well wherever the budget does not fix it.
"""

from __future__ import annotations

from torch import nn

from automl_kd.proxies.base import Probe


def params(student: nn.Module, _probe: Probe) -> float:
    """How many numbers the student learns. The probe plays no part."""
    return float(sum(parameter.numel() for parameter in student.parameters()))
