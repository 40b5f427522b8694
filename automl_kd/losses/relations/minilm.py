"""MiniLM: the student relates the tokens of a text as its teacher does, by queries, keys and values of self-attention.

Wenhui Wang, Hangbo Bao, Shaohan Huang, Li Dong, Furu Wei. MiniLMv2: Multi-Head Self-Attention Relation Distillation for
Compressing Pretrained Transformers. 2020. arXiv:2012.15828, section 3.1: one layer of each network, the student's
last; queries, keys and values of all heads side by side, cut into as many relation heads in both networks, so that
neither widths nor attention heads need agree; KL(teacher || student) between rows of softmax(A A^T / sqrt(d_r)),
averaged over relation heads and tokens, and added over queries, keys and values with equal weights.

With relations = "qk+vv" and as many relation heads as both networks have attention heads, it is the loss of the first
version, attention and values' relation: Wang, Wei, Dong, Bao, Yang, Zhou. MiniLM: Deep Self-Attention Distillation for
Task-Agnostic Compression of Pre-Trained Transformers. 2020. arXiv:2002.10957, sections 3.1 and 3.2.

Ours: the papers distil before any fine-tuning and without labels, here it is one loss among others, of a teacher that
knows the task; its weight of 1 in such a sum; the number of relation heads where none is given; the mean over a batch,
of each text's mean over its tokens; which layer of the teacher, by `stages`. Only the abstracts could be read here: the
sections' numbers and the 48 relation heads are from memory.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.errors import ConfigError
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard, both, example_maps, sum_of_terms
from automl_kd.models.features import QKV_NAME, Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32

PUBLISHED_HEADS = 48
"""Relation heads of the paper's students of 12 attention heads, from memory."""

QKV_ORDER = "qkv"
"""The order in which a map's channels hold them, a third each."""

Qkv = Float[Tensor, "batch channels tokens 1"]


@in_float32
def minilm_loss(
    student: Float[Tensor, "batch c1 tokens one"],
    teacher: Float[Tensor, "batch c2 tokens one"],
    relations: str,
    relation_heads: int,
) -> Float[Tensor, ""]:
    """The sum over `relations` of the mean KL(teacher || student) over texts, their tokens and relation heads.

    A map's channels are queries, keys and values, a third each. A token that is 0 in all of the teacher's is padding:
    neither is it related to others, nor others to it.
    """
    there = (teacher != 0).any(dim=1)[..., 0]
    heads = count_heads(student.shape[1] // 3, teacher.shape[1] // 3, relation_heads)
    one, two = split_heads(student, heads), split_heads(teacher.detach(), heads)
    terms = []
    for first, second in (map(QKV_ORDER.index, pair) for pair in relations.split("+")):
        log_p, log_q = (log_relation(x[first], x[second], there) for x in (one, two))
        divergence = (log_q.exp() * (log_q - log_p)).sum(dim=3).mean(dim=1)  # (batch, tokens)
        terms.append(((divergence * there).sum(dim=1) / there.sum(dim=1).clamp_min(1)).mean())
    return sum_of_terms(terms)


def split_heads(qkv: Qkv, heads: int) -> Float[Tensor, "3 batch heads tokens width"]:
    return qkv.reshape(len(qkv), 3, heads, -1, qkv.shape[2]).permute(1, 0, 2, 4, 3)


def log_relation(
    first: Float[Tensor, "batch heads tokens width"],
    second: Float[Tensor, "batch heads tokens width"],
    there: Bool[Tensor, "batch tokens"],
) -> Float[Tensor, "batch heads tokens tokens"]:
    """The logarithm of softmax(A B^T / sqrt(width)) over the tokens that are there."""
    products = first @ second.transpose(2, 3) / math.sqrt(first.shape[3])
    # The least finite number, of probability 0: with infinity, 0 times a difference of two would be no number.
    return products.masked_fill(~there[:, None, None, :], torch.finfo(products.dtype).min).log_softmax(dim=3)


def count_heads(student: int, teacher: int, asked: int) -> int:
    """`asked`, or for 0 the largest number up to the published one that divides both widths.

    `ConfigError` if it does not divide them.
    """
    fitting = [one for one in range(1, PUBLISHED_HEADS + 1) if student % one == teacher % one == 0]
    if not asked:
        return fitting[-1]
    if student % asked or teacher % asked:
        raise ConfigError(
            f"minilm.relation_heads = {asked} does not divide the widths, {student} of the student and {teacher} of "
            f"the teacher; choose one that does, such as {fitting[-1]}"
        )
    return asked


@dataclass(frozen=True)
class MiniLM:
    """Relations of a text's queries, keys and values. Wang et al. 2020, arXiv:2012.15828.

    `stages`: pairs of self-attentions to compare: `qkv`, the last layer's, or `qkv1`, `qkv2` and so on; in "qkv:qkv5"
    the teacher's is the fifth. `relations`: what is related with what, pairs of q, k and v joined by "+"; "qk+vv" are
    those of the first MiniLM. `relation_heads`: 0 for the largest number up to 48 that divides both widths; else it
    must divide them.
    """

    standard: ClassVar[Standard] = Standard(weight=1.0)
    stages: str = "qkv"
    relations: str = "qq+kk+vv"
    relation_heads: int = 0

    def __post_init__(self) -> None:
        names = FeatureNames.of(self.stages)
        strange = [name for name in names.student + names.teacher if not QKV_NAME.fullmatch(name)]
        require(
            not strange,
            f"minilm compares queries, keys and values, and stages names {strange[:1]}; choose qkv, or qkv1, qkv2 ...",
        )
        pairs = self.relations.split("+")
        require(
            all(re.fullmatch(f"[{QKV_ORDER}]{{2}}", pair) for pair in pairs) and len({*pairs}) == len(pairs),
            f"relations are different pairs of q, k and v joined by '+', as in 'qq+kk+vv'; got {self.relations!r}",
        )
        require(self.relation_heads >= 0, f"relation_heads must be 0 or more, got {self.relation_heads}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> MiniLM:
        for one, two in example_maps("minilm", self.stages, example):
            count_heads(one.shape[1] // 3, two.shape[1] // 3, self.relation_heads)
            if one.shape[2] != two.shape[2]:
                raise ConfigError(
                    f"minilm compares relations of tokens, and got {one.shape[2]} of the student and {two.shape[2]} of "
                    "the teacher; let both read the same tokens"
                )
        return self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        pairs = both(self.stages, student, teacher)
        return {
            "minilm": sum_of_terms([minilm_loss(one, two, self.relations, self.relation_heads) for one, two in pairs])
        }
