"""Jacobian covariance: an untrained network is promising if its logits respond to each image in another direction.

Mellor, Turner, Storkey, Crowley. Neural Architecture Search without Training. 2020. arXiv:2006.04647, first version,
section 3: the rows of the Jacobian, one for each image of a batch, are correlated, and the eigenvalues of the
correlation matrix scored by how far they are from the ones of uncorrelated rows. The second version replaced it by
naswot. k = 1e-5 as in the released code. That computes the eigenvalues, of any matrix; here a Cholesky factor gives the
same sum, and on an accelerator nobody has to wait for it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from automl_kd.proxies.base import Shared
from automl_kd.proxies.passes import Passes

K = 1e-5
"""What is added before logarithms, in this proxy and in epe_nas."""


def jacobian_correlations(rows: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch batch"]:
    """Pearson's, of each row with each, in float64; not a number for a row that is constant."""
    return torch.corrcoef(rows.flatten(1).double())


def score_of(matrix: Float[Tensor, "batch batch"]) -> Float[Tensor, ""]:
    """-sum of log(v + k) + 1/(v + k) over eigenvalues v of a correlation matrix in float64.

    Highest, about minus the batch, for the identity. Not a number if an entry is none.
    """
    # With L L^T = matrix + k: the logarithms add up to its log determinant, the inverses to the trace of its inverse.
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    factor, failed = torch.linalg.cholesky_ex(matrix + K * identity)
    inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
    value = -2 * factor.diagonal().log().sum() - inverse.square().sum()
    return torch.where(failed == 0, value, torch.nan)


def jacob_cov(passes: Passes) -> Tensor:
    """Of the gradients of the summed logits by the images. Not a number if an image has no effect on the logits."""
    return score_of(jacobian_correlations(passes.input_gradient))


JACOB_COV = Shared(jacob_cov, sees=("input_gradient",))
