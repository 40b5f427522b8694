"""Hypergradients of an outer loss, one file each, and their table. May import `models` and below."""

from __future__ import annotations

from collections.abc import Mapping

from automl_kd.bilevel.backbone_jvp import BackboneJVP
from automl_kd.bilevel.base import HyperGradient
from automl_kd.bilevel.conjugate_gradient import ConjugateGradient
from automl_kd.bilevel.finite_difference import FiniteDifference
from automl_kd.bilevel.neumann import Neumann
from automl_kd.bilevel.output_backward import OutputBackward
from automl_kd.bilevel.unroll import Unroll

HYPERGRADIENTS: Mapping[str, type[HyperGradient]] = {
    "backbone_jvp": BackboneJVP,
    "output_backward": OutputBackward,
    "finite_difference": FiniteDifference,
    "unroll": Unroll,
    "conjugate_gradient": ConjugateGradient,
    "neumann": Neumann,
}
