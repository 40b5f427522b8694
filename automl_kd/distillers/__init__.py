"""Losses by which a student learns from its teacher: one file each, and the table of their names."""

from __future__ import annotations

from collections.abc import Mapping

from automl_kd.distillers.ab import AB
from automl_kd.distillers.at import AT
from automl_kd.distillers.base import Loss
from automl_kd.distillers.cc import CC
from automl_kd.distillers.crd import CRD
from automl_kd.distillers.dist import DIST
from automl_kd.distillers.diswot import Relation, Semantic
from automl_kd.distillers.dkd import DKD
from automl_kd.distillers.fitnet import FitNet
from automl_kd.distillers.fsp import FSP
from automl_kd.distillers.ft import FT
from automl_kd.distillers.ickd import ICKD
from automl_kd.distillers.kd import KD
from automl_kd.distillers.logit_standardisation import StandardisedKD
from automl_kd.distillers.mgd import MGD
from automl_kd.distillers.mlkd import MLKD
from automl_kd.distillers.nst import NST
from automl_kd.distillers.ofa import OFA
from automl_kd.distillers.ofd import OFD
from automl_kd.distillers.pkt import PKT
from automl_kd.distillers.reviewkd import ReviewKD
from automl_kd.distillers.rkd import RKD
from automl_kd.distillers.semckd import SemCKD
from automl_kd.distillers.sp import SP
from automl_kd.distillers.srrl import SRRL
from automl_kd.distillers.vid import VID

DISTILLERS: Mapping[str, type[Loss]] = {
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
}
