"""Distillation losses, one file each, and their table by name. May import `data`, `models` and below.

A Python program calls them as plain functions of tensors, `automl_kd.losses.kd_loss(student_logits, teacher_logits,
temperature=4.0)`; `losses.functions` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from automl_kd.losses.base import Loss
from automl_kd.losses.features.ab import AB
from automl_kd.losses.features.at import AT
from automl_kd.losses.features.fitnet import FitNet
from automl_kd.losses.features.fsp import FSP
from automl_kd.losses.features.ft import FT
from automl_kd.losses.features.ickd import ICKD
from automl_kd.losses.features.mgd import MGD
from automl_kd.losses.features.nst import NST
from automl_kd.losses.features.ofd import OFD
from automl_kd.losses.features.reviewkd import ReviewKD
from automl_kd.losses.features.semckd import SemCKD
from automl_kd.losses.features.vid import VID
from automl_kd.losses.functions import LOSS_FUNCTIONS
from automl_kd.losses.logits.dist import DIST
from automl_kd.losses.logits.dkd import DKD
from automl_kd.losses.logits.kd import KD
from automl_kd.losses.logits.logit_standardisation import StandardisedKD
from automl_kd.losses.logits.mlkd import MLKD
from automl_kd.losses.logits.ofa import OFA
from automl_kd.losses.logits.srrl import SRRL
from automl_kd.losses.relations.cc import CC
from automl_kd.losses.relations.crd import CRD
from automl_kd.losses.relations.diswot import Relation, Semantic
from automl_kd.losses.relations.minilm import MiniLM
from automl_kd.losses.relations.pkt import PKT
from automl_kd.losses.relations.rkd import RKD
from automl_kd.losses.relations.sp import SP

DISTILLATION_LOSSES: Mapping[str, type[Loss]] = {
    "kd": KD,
    "dkd": DKD,
    "dist": DIST,
    "lskd": StandardisedKD,
    "mlkd": MLKD,
    "ofa": OFA,
    "fitnet": FitNet,
    "at": AT,
    "nst": NST,
    "sp": SP,
    "rkd": RKD,
    "cc": CC,
    "pkt": PKT,
    "vid": VID,
    "ab": AB,
    "fsp": FSP,
    "ft": FT,
    "ofd": OFD,
    "crd": CRD,
    "reviewkd": ReviewKD,
    "srrl": SRRL,
    "semckd": SemCKD,
    "mgd": MGD,
    "ickd": ICKD,
    "diswot_relation": Relation,
    "diswot_semantic": Semantic,
    "minilm": MiniLM,
}


def __getattr__(name: str) -> Callable[..., Any]:
    """A loss as a plain function."""
    if name not in LOSS_FUNCTIONS:
        raise AttributeError(f"module 'automl_kd.losses' has no attribute {name!r}")
    return LOSS_FUNCTIONS[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *LOSS_FUNCTIONS})
