"""The cost of learned distillation: the loss networks and an outer update, in multiply-adds per image.

With maps the loss costs as much as a student may, because a perceptron looks at each element of each map.
"""

from __future__ import annotations

from copy import deepcopy

from automl_kd.bilevel.base import leaves
from automl_kd.data import Batch
from automl_kd.losses.base import Example, sum_of_terms
from automl_kd.losses.learned.loss import HIDDEN_WIDTH, Learned, LossLayout, Phi
from automl_kd.losses.learned.start import FIT_BATCH, FIT_CLASSES, FIT_STEPS
from automl_kd.methods.base import STEP
from automl_kd.methods.weighted_losses import first
from automl_kd.models.costs.multiply_adds import counting
from automl_kd.models.features import Outputs


def update_macs(student: int, loss: int, *, look_ahead: int, ratio: int, anchored: bool) -> int:
    """Of an outer update, for each image in the batch of its inner step; without a teacher's pass on a fresh batch.

    `student`: a forward pass. `loss`: as `learned_loss_macs` counts it. `look_ahead`, `ratio`: as in `MetaSchedule`. A
    gradient that is differentiated costs three.
    """
    if look_ahead == 1:
        dual = 3 * student  # a product of two dual numbers is three products
        inner = (STEP * student + loss) + dual + 3 * loss
    else:
        inner = 3 * look_ahead * (STEP * student + loss)
    # The anchor needs the past student's outputs once more, and the slope of the weights there by phi.
    anchor = student + STEP * loss if anchored else 0
    before = ratio * student  # the held-out loss without the step, which tells whether the step is valid
    return inner + ratio * STEP * student + before + anchor


def start_macs(layout: LossLayout) -> int:
    """Of fitting the free form to plain distillation before the training; 0 where nothing is fitted (`start.py`).

    In each step a pass over the batch's values, and the backward pass through all layers but into the inputs.
    """
    inputs = layout.networks().get("logits", 0) if layout.form == "free" else 0
    if not inputs:
        return 0
    first_layer, others = inputs * HIDDEN_WIDTH, HIDDEN_WIDTH * HIDDEN_WIDTH + HIDDEN_WIDTH
    return FIT_STEPS * FIT_BATCH * FIT_CLASSES * ((STEP - 1) * first_layer + STEP * others)


def learned_loss_macs(learned: Learned, example: Example, batch: Batch, phi: Phi) -> int:
    """Multiply-adds of the loss networks and projections per image, for the loss and the student's gradient.

    Counted rather than taken as `STEP` times the forward pass: a weight is a constant for the student, and phi stands
    still, so most of a gradient's passes are left out.
    """
    learned = deepcopy(learned)  # whose gradients stay as they are
    size = min(len(batch.labels), example.batch)
    one, two = first(example.student, size), first(example.teacher, size)
    seen = Outputs(one.logits.detach().requires_grad_(), leaves(one.features))
    with counting() as counter:
        terms = learned(seen, two, batch.labels[:size], phi)
        sum_of_terms(list(terms.values())).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    return round(counter.macs / size)
