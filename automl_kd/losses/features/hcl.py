"""Hierarchical context loss: squared error of two maps, at full size and averaged to coarser grids.

Pengguang Chen, Shu Liu, Hengshuang Zhao, Jiaya Jia. Distilling Knowledge via Knowledge Review. 2021. arXiv:2104.09044.
The levels and weights are the published code's.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from automl_kd.tasks.precision import in_float32

POOLED_SIZES = (4, 2, 1)


@in_float32
def hcl(
    student: Float[Tensor, "batch channels height width"], teacher: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, ""]:
    """Weighted mean of the squared errors at full size and at 4x4, 2x2 and 1x1, where these are below the height.

    Full size weighs 1, each level that is used half of the one before it.
    """
    teacher = teacher.detach()
    loss, share, weights = F.mse_loss(student, teacher), 1.0, 1.0
    for level in POOLED_SIZES:
        if level < student.shape[2]:
            share /= 2
            weights += share
            one, two = F.adaptive_avg_pool2d(student, level), F.adaptive_avg_pool2d(teacher, level)
            loss = loss + share * F.mse_loss(one, two)
    return loss / weights
