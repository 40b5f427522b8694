"""DisWOT: the student whose random features look most like those of a random teacher.

Dong, Li, Wei. DisWOT: Student Architecture Search for Distillation WithOut Training. 2023. arXiv:2303.15678: two
similarities between untrained teacher and student on one batch, of their sample relations and of their classes'
activation semantics. Where the release and the paper leave several readings, this is the one of its ranking script:
weights from N(0, 1), batch normalisation in training mode, the last map after its activation.

Here nothing is differentiated and no teacher is run: the gradient that the semantic similarity is made of has a closed
form, and so has the distance of its outer products. Both are exact, so the scores are those of the definition.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from automl_kd.errors import ConfigError
from automl_kd.models.features import Outputs
from automl_kd.proxies.base import Shared
from automl_kd.proxies.passes import Passes
from automl_kd.proxies.probe import Probe

SMALLEST_NORM = 1e-12
"""Smallest norm by which a row is divided, in both similarities."""


def relation_similarity(student: Float[Tensor, "batch ..."], teacher: Float[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """-||A_s - A_t||_F^2 / batch^2, where A is the Gram matrix of a feature map's samples with rows of unit length.

    The maps' channels and sizes need not agree. In [-4 / batch, 0]; above -2 / batch for maps without negative values.
    """
    return distance(relations(student), relations(teacher))


def distance(student: Float[Tensor, "batch batch"], teacher: Float[Tensor, "batch batch"]) -> Float[Tensor, ""]:
    return -(student - teacher).square().sum() / len(student) ** 2


def relations(feature_map: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch batch"]:
    # Channels last, as maps lie in memory; the order of a sample's numbers makes no difference.
    flat = feature_map.movedim(1, -1).flatten(1)
    return F.normalize(flat @ flat.T, dim=1, eps=SMALLEST_NORM)


def classifier_gradient(
    pooled: Float[Tensor, "batch channels"], logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, "classes channels"]:
    """d(mean cross entropy)/d(weight) of the linear layer that maps `pooled` to `logits`.

    Equal to (softmax - one hot)^T pooled / batch, by the chain rule.
    """
    error = logits.softmax(1) - F.one_hot(labels, logits.shape[1])
    return error.T @ pooled / len(labels)


def semantic_similarity(
    student: Float[Tensor, "classes channels"], teacher: Float[Tensor, "teacher_classes teacher_channels"]
) -> Float[Tensor, ""]:
    """-1/(K C) sum_k ||E_k^s - E_k^t||_F^2 for classifier gradients with K classes and C channels.

    E_k is the outer product of row k with itself, its rows divided by their length (at least 1e-12). In [-4, 0]: sign
    agreement times cosine of the two networks' rows decide it, about -2 for unrelated and 0 for equal networks.
    Raises `ConfigError` if K or C differ.
    """
    if student.shape != teacher.shape:
        raise ConfigError(
            f"diswot_semantic needs equal (classes, channels) and got {tuple(student.shape)} from the student, "
            f"{tuple(teacher.shape)} from the teacher; take a teacher of that shape, or use diswot_relation"
        )
    # g, a as in E = a g^T: row i of the outer product is g_i g, and |g_i| ||g|| its length.
    g_s, g_t = student, teacher
    square_s, square_t = g_s.square().sum(1), g_t.square().sum(1)
    a_s = g_s / (g_s.abs() * square_s.sqrt()[:, None]).clamp_min(SMALLEST_NORM)
    a_t = g_t / (g_t.abs() * square_t.sqrt()[:, None]).clamp_min(SMALLEST_NORM)
    # ||a_s g_s^T - a_t g_t^T||^2 multiplied out; a trace of products of rank one is a product of dot products.
    own = a_s.square().sum(1) * square_s + a_t.square().sum(1) * square_t
    shared = (a_s * a_t).sum(1) * (g_s * g_t).sum(1)
    return -(own - 2 * shared).sum() / student.numel()


def relation(passes: Passes) -> Tensor:
    """Relation similarity of the last maps before pooling."""
    teacher = require_teacher(passes.probe)
    theirs = passes.probe.once("relations", lambda: relations(teacher.features["pre_pool"]))
    return distance(relations(passes.feature("pre_pool")), theirs)


def semantic(passes: Passes) -> Tensor:
    """Semantic similarity of the classifiers, from the vectors they see and the logits they give."""
    labels, teacher = passes.probe.labels, require_teacher(passes.probe)
    ours = classifier_gradient(passes.feature("pooled"), passes.outputs.logits, labels)
    return semantic_similarity(ours, classifier_gradient(teacher.features["pooled"], teacher.logits, labels))


def require_teacher(probe: Probe) -> Outputs:
    if probe.teacher is None:
        raise ConfigError("DisWOT compares a student with a teacher, but the probe has none; give make_probe a teacher")
    return probe.teacher


RELATION, SEMANTIC = Shared(relation), Shared(semantic)
