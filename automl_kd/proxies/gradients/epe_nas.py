"""EPE-NAS: how the Jacobian's rows correlate within each class.

Lopes, Alirezazadeh, Alexandre. EPE-NAS: Efficient Performance Estimation Without Training for Neural Architecture
Search. 2021. arXiv:2102.08099, section 3. Up to 100 classes their scores are added, beyond that compared with each
other. As in the released code, in the second case classes with a single image do not count, but no class that the batch
lacks does in either; and the images' rows are the same as those of jacob_cov.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from automl_kd.proxies.base import Shared
from automl_kd.proxies.gradients.jacob_cov import K, jacobian_correlations
from automl_kd.proxies.passes import Passes

MANY_CLASSES = 100
"""The largest number of classes whose scores are added."""


def class_scores(
    matrix: Float[Tensor, "batch batch"], members: Float[Tensor, "batch classes"]
) -> Float[Tensor, " classes"]:
    """The sum of log(|correlation| + k) over all pairs of images of a class, each with itself included."""
    # Rows are centred one by one, so a class's correlation matrix is a part of the batch's.
    logarithms = (matrix.abs() + K).log()
    return ((logarithms @ members) * members).sum(0)


def epe_nas_score(rows: Float[Tensor, "batch ..."], labels: Int[Tensor, " batch"], classes: int) -> Float[Tensor, ""]:
    """e_c: a class's score. Up to 100 classes the sum of |e_c|.

    Beyond, e_c is divided by the number of the class's images, and the score is the sum of |e_c - e_d| over all pairs
    of classes of at least two images, divided by the number of such classes.
    """
    matrix = jacobian_correlations(rows)
    members = F.one_hot(labels, classes).to(matrix.dtype)
    e = class_scores(matrix, members)
    if classes <= MANY_CLASSES:
        return e.abs().sum()
    images = members.sum(0)
    several = (images > 1).to(e.dtype)
    e = e / images.clamp_min(1)
    differences = (e[:, None] - e).abs() * several[:, None] * several
    return differences.sum() / several.sum().clamp_min(1)


def epe_nas(passes: Passes) -> Tensor:
    """Of the gradients of the summed logits by the images. Not a number if an image has no effect on the logits."""
    return epe_nas_score(passes.input_gradient, passes.probe.labels, passes.probe.shape.classes)


EPE_NAS = Shared(epe_nas, sees=("input_gradient",))
