"""Centred kernel alignment: the similarity of two networks' features, of any widths and sizes.

Kornblith, Norouzi, Lee, Hinton. Similarity of Neural Network Representations Revisited. 2019. arXiv:1905.00414, section
3, with the linear kernel. Zheng et al. 2022 (RMI-NAS) chose students by its sum over the stages of student and teacher,
and the code released with DisWOT (arXiv:2303.15678) calls 3 minus that sum a loss.
"""

from __future__ import annotations

from jaxtyping import Float, Float64
from torch import Tensor

SMALLEST_PRODUCT = 1e-30
"""Smallest product of norms by which is divided: constant features are like nothing."""


def linear_cka(one: Float[Tensor, "images ..."], two: Float[Tensor, "images ..."]) -> Float[Tensor, ""]:
    """tr(K L) / sqrt(tr(K K) tr(L L)) for the centred inner products K, L of the images' features.

    In [0, 1]; 1 for features that differ by a rotation and a scale, 0 if those of one are the same for all images.
    """
    return alignment(inner_products(one), inner_products(two))


def alignment(one: Float64[Tensor, "images images"], two: Float64[Tensor, "images images"]) -> Float[Tensor, ""]:
    """Of centred inner products, K and L."""
    norms: Tensor = one.norm() * two.norm()
    return (one * two).sum() / norms.clamp_min(SMALLEST_PRODUCT)


def inner_products(features: Float[Tensor, "images ..."]) -> Float64[Tensor, "images images"]:
    flat = features.movedim(1, -1).flatten(1)  # as maps lie in memory; the order makes no difference
    centred = flat - flat.mean(0)
    return (centred @ centred.T).double()
