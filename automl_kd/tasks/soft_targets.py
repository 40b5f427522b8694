"""The soft targets of plain KD.

Geoffrey Hinton, Oriol Vinyals, Jeff Dean. Distilling the Knowledge in a Neural Network. 2015. arXiv:1503.02531,
section 2.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from automl_kd.tasks.precision import in_float32

Number = float | Float[Tensor, ""]
"""A hyper-parameter: a tensor where an outer problem differentiates through it."""


@in_float32
def kd_loss(
    student: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"], temperature: Number
) -> Float[Tensor, ""]:
    """KL(teacher || student) at `temperature` > 0, times its square, averaged over the batch.

    The factor keeps gradients comparable across temperatures (section 2). `temperature` may be a tensor, so that an
    outer problem can differentiate through it. No gradient reaches the teacher.
    """
    log_p = F.log_softmax(student / temperature, dim=1)
    log_q = F.log_softmax(teacher.detach() / temperature, dim=1)
    return F.kl_div(log_p, log_q, reduction="batchmean", log_target=True) * temperature**2


@in_float32
def binary_kd_loss(
    student: Float[Tensor, "batch labels"], teacher: Float[Tensor, "batch labels"], temperature: Number
) -> Float[Tensor, ""]:
    """The same of each label by itself, present or not: the mean over labels and batch of KL(teacher || student).

    Our own extension to several labels; the paper has one class.
    """
    soft = (teacher.detach() / temperature).sigmoid()
    logits = student / temperature
    least = F.binary_cross_entropy(soft, soft)  # the entropy, so that equal outputs cost nothing
    return (F.binary_cross_entropy_with_logits(logits, soft) - least) * temperature**2
