"""Every loss function's derivatives, by the student's outputs and by hyper-parameters, against differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from automl_kd.losses.features.ab import ab_loss
from automl_kd.losses.features.at import at_loss
from automl_kd.losses.features.fsp import fsp_loss
from automl_kd.losses.features.ft import ft_loss
from automl_kd.losses.features.hcl import hcl
from automl_kd.losses.features.ickd import ickd_loss
from automl_kd.losses.features.nst import nst_loss
from automl_kd.losses.features.ofd import ofd_loss
from automl_kd.losses.features.vid import vid_loss
from automl_kd.losses.logits.dist import dist_loss
from automl_kd.losses.logits.dkd import dkd_loss
from automl_kd.losses.logits.logit_standardisation import standardise
from automl_kd.losses.logits.mlkd import batch_correlation_loss, class_correlation_loss
from automl_kd.losses.logits.ofa import ofa_loss
from automl_kd.losses.logits.srrl import srrl_losses
from automl_kd.losses.relations.cc import cc_loss
from automl_kd.losses.relations.crd import contrast_scores, crd_loss
from automl_kd.losses.relations.diswot import semantic_loss
from automl_kd.losses.relations.minilm import minilm_loss
from automl_kd.losses.relations.pkt import pkt_loss
from automl_kd.losses.relations.rkd import rkd_loss
from automl_kd.losses.relations.sp import sp_loss
from automl_kd.tasks.soft_targets import kd_loss

LABELS = torch.tensor([0, 2, 1])


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


TEACHER, MAP, UPPER = noise(3, 4, seed=9), noise(3, 2, 4, 4, seed=8), noise(3, 5, 2, 2, seed=7)
ROWS = torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 1]])

CASES: dict[str, tuple[Any, ...]] = {
    "kd": (lambda s, t: kd_loss(s, TEACHER, t), noise(3, 4), number(2.0)),
    "lskd": (lambda s, t: kd_loss(standardise(s), TEACHER, t), noise(3, 4), number(2.0)),
    "dkd": (
        lambda s, a, b, t: dkd_loss(s, TEACHER, LABELS, a, b, t), noise(3, 4), number(1.0), number(8.0), number(4.0),
    ),
    "dist": (lambda s, b, g, t: dist_loss(s, TEACHER, b, g, t), noise(3, 4), number(2.0), number(1.0), number(4.0)),
    "mlkd classes": (lambda s, t: class_correlation_loss(s, TEACHER, t), noise(3, 4), number(2.0)),
    "mlkd images": (lambda s, t: batch_correlation_loss(s, TEACHER, t), noise(3, 4), number(2.0)),
    "ofa": (lambda s, e, t: ofa_loss(s, TEACHER, LABELS, e, t), noise(3, 4), number(1.5), number(2.0)),
    "at": (lambda s, p: at_loss(s, MAP, p), noise(3, 5, 2, 2), number(2.0)),
    "nst": (lambda s: nst_loss(s, MAP), noise(3, 5, 2, 2)),
    "sp": (lambda s: sp_loss(s, MAP), noise(3, 5)),
    "rkd": (lambda s, d, a: rkd_loss(s, TEACHER, d, a), noise(3, 5), number(25.0), number(50.0)),
    "cc": (cc_loss, noise(3, 4), noise(3, 4, seed=1)),
    "pkt": (lambda s: pkt_loss(s, TEACHER), noise(3, 5)),
    "minilm": (lambda s: minilm_loss(s, noise(3, 12, 4, 1, seed=6), "qq+kk+vv", 2), noise(3, 6, 4, 1)),
    "vid": (lambda s, v: vid_loss(s, MAP, v), noise(3, 2, 4, 4), noise(2).exp()),
    "ab": (lambda s, m: ab_loss(s, MAP, m), noise(3, 2, 4, 4), number(1.0)),
    "fsp": (lambda a, b: fsp_loss(a, b, MAP, UPPER), noise(3, 2, 4, 4), noise(3, 5, 2, 2)),
    "ft": (lambda s: ft_loss(s, MAP), noise(3, 5, 2, 2)),
    "ofd": (lambda s: ofd_loss(s, MAP, number(-0.5).expand(2)), noise(3, 2, 4, 4)),
    "crd": (
        lambda v, t: crd_loss(contrast_scores(v, TEACHER, ROWS, t)[:, 0], contrast_scores(v, TEACHER, ROWS, t)[:, 1:],
        10), noise(3, 4), number(0.7),
    ),
    "hcl": (lambda s: hcl(s, MAP), noise(3, 2, 4, 4)),
    "ickd": (lambda s: ickd_loss(s, MAP), noise(3, 2, 2, 2)),
    "srrl": (lambda s: srrl_losses(s, TEACHER, noise(3, 6), noise(6, 4), noise(6)), noise(3, 4)),
    "semantic": (
        lambda s, z: semantic_loss(s, z, TEACHER, noise(3, 5), LABELS), noise(3, 4, seed=2), noise(3, 5, seed=3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name):
    loss, *values = CASES[name]
    assert torch.autograd.gradcheck(loss, tuple(value.clone().requires_grad_() for value in values))


@pytest.mark.parametrize("name", ["kd", "dkd", "dist", "at", "ofa", "rkd", "vid", "crd"])
def test_hyper_parameters_are_not_idle(name):
    loss, *values = CASES[name]
    leaves = [value.clone().requires_grad_() for value in values]
    for gradient in torch.autograd.grad(loss(*leaves), leaves[1:]):
        assert gradient.abs().sum() > 1e-6
