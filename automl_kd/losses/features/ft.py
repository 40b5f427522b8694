"""Factor transfer: the student learns factors into which an autoencoder has put the teacher's maps.

Jangho Kim, SeongUk Park, Nojun Kwak. Paraphrasing Complex Network: Network Compression via Factor Transfer. 2018.
arXiv:1802.04977. The autoencoder (paraphraser) is trained on the teacher alone before the student, for 30 epochs in the
CIFAR-100 benchmark; `pretrain` gives it the first part of the run. By default it learns beside the student instead,
which needs no epochs of its own. The benchmark's code compares attention maps of the factors (mean of squares over
channels, unit length) by their mean absolute difference, with weight 200; so does this.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.losses.base import (
    Example,
    FeatureNames,
    LossTerms,
    Standard,
    beside,
    both,
    example_widths,
    same_size,
    sum_of_terms,
)
from automl_kd.losses.features.at import attention_map
from automl_kd.losses.features.fitnet import hint_loss
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32


@in_float32
def ft_loss(student: Float[Tensor, "batch c1 h1 w1"], teacher: Float[Tensor, "batch c2 h2 w2"]) -> Float[Tensor, ""]:
    """Mean absolute difference of the factors' attention maps; the larger is averaged to the smaller one's size."""
    one, two = same_size(student, teacher.detach())
    return (attention_map(one, 2.0) - attention_map(two, 2.0)).abs().mean()


@dataclass(frozen=True)
class FT:
    """Attention maps of paraphrased features. Kim et al. 2018, arXiv:1802.04977.

    `stages`: pairs of feature layers to compare. `factor` > 0: width of the factors over that of the teacher's map.
    `pretrain` in [0, 1): the part of the run in which the paraphraser learns alone, to be frozen afterwards; 0 trains
    it throughout.
    """

    standard: ClassVar[Standard] = Standard(weight=200.0)
    stages: str = "pre_pool"
    factor: float = 0.5
    pretrain: float = 0.0

    def __post_init__(self) -> None:
        require(self.factor > 0, f"factor must be above 0, got {self.factor}")
        require(0 <= self.pretrain < 1, f"pretrain must lie in [0, 1), got {self.pretrain}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> Translator:
        return beside(Translator(self, example), example)


class Translator(nn.Module):
    def __init__(self, options: FT, example: Example) -> None:
        super().__init__()
        self.stages, self.alone = options.stages, round(options.pretrain * example.epochs)
        self.frozen_later = options.pretrain > 0
        widths = example_widths("ft", options.stages, example)
        factors = [max(1, round(c_t * options.factor)) for _, c_t in widths]
        self.translators = nn.ModuleList(
            stack(nn.Conv2d, c_s, c_s, width, width) for (c_s, _), width in zip(widths, factors, strict=True)
        )
        self.encoders = nn.ModuleList(
            stack(nn.Conv2d, c_t, c_t, width, width) for (_, c_t), width in zip(widths, factors, strict=True)
        )
        self.decoders = nn.ModuleList(
            stack(nn.ConvTranspose2d, width, width, c_t, c_t) for (_, c_t), width in zip(widths, factors, strict=True)
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:
        alone, frozen = batch.epoch <= self.alone, self.frozen_later and batch.epoch > self.alone
        self.encoders.train(self.training and not frozen)
        terms, own = [], []
        maps = both(self.stages, student, teacher)
        for (one, two), translate, encode, decode in zip(
            maps, self.translators, self.encoders, self.decoders, strict=True
        ):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
                factors = encode(two)
            if not alone:
                terms.append(ft_loss(translate(one), factors))
            if not frozen:
                own.append(hint_loss(decode(factors), two))
        return {**({"ft": sum_of_terms(terms)} if terms else {}), **({"ft.own": sum_of_terms(own)} if own else {})}


def stack(convolution: type[nn.Conv2d] | type[nn.ConvTranspose2d], *widths: int) -> nn.Sequential:
    """3x3 convolutions from one width to the next, each with batch normalisation and a leaky activation."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [convolution(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers)
