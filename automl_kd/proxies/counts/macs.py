"""The number of multiply-adds of one image: like the parameter count, a baseline that a proxy has to beat."""

from __future__ import annotations

from automl_kd.models.costs.cost import NetworkCost
from automl_kd.proxies.base import OfCost


def macs(cost: NetworkCost) -> float:
    """Multiply-adds of the student's forward pass on one image of the task's shape."""
    return float(cost.macs)


MACS = OfCost(macs)
