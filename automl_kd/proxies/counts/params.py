"""The number of parameters: the baseline that a proxy has to beat.

Larger students of one family tend to be better, so the count itself ranks well wherever the budget does not fix it.
"""

from __future__ import annotations

from automl_kd.models.costs.cost import NetworkCost
from automl_kd.proxies.base import OfCost


def params(cost: NetworkCost) -> float:
    """How many numbers the student learns."""
    return float(cost.params)


PARAMS = OfCost(params)
