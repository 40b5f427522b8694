"""Proximal gradient steps for factors that must become exactly zero.

ISTA: Daubechies, Defrise, De Mol. An iterative thresholding algorithm for linear inverse problems with a sparsity
constraint. 2004. arXiv:math/0307152. The accelerated step (APG) is the one of Huang, Wang. Data-Driven Sparse Structure
Selection for Deep Neural Networks. 2018. arXiv:1707.01213, section 3.3, where the gradient is taken at the point that
is already extrapolated; factors are kept at zero or above, as in that paper's published code.
"""

from __future__ import annotations

from torch import Tensor


def soft_threshold(v: Tensor, t: Tensor | float) -> Tensor:
    """sign(v) max(|v| - t, 0), the proximal map of t |v|; `t` is 0 or more, a number or one for each entry."""
    return v.sign() * (v.abs() - t).clamp(min=0)


def ista(g: Tensor, grad: Tensor, rate: float, t: Tensor | float) -> Tensor:
    """One step down `grad` of length `rate`, thresholded by `t` (rate times penalty), clipped at zero."""
    return soft_threshold(g - rate * grad, t).clamp(min=0)


def apg(
    g: Tensor, grad: Tensor, momentum: Tensor, rate: float, t: Tensor | float, mu: float = 0.9
) -> tuple[Tensor, Tensor]:
    """One accelerated step: the new factors and their momentum. `grad` is taken at `g`; `mu` in [0, 1).

    The extrapolation can bring back a factor that was zero, and end it again.
    """
    z = soft_threshold(g - rate * grad, t)
    momentum = z - g + mu * momentum
    return (z + mu * momentum).clamp(min=0), momentum
