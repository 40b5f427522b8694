"""How many convolutions a student has, and how many weights they hold: baselines that cost nothing.

Dong, Yang. NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search. 2020. arXiv:2001.00326 counts
the parameters of every edge of a cell, those included from which no path leads to the output. Here the student is
counted as it is scored, and the networks that a space assembles for scoring have no such edges; where a space assembles
none, every convolution of the network counts. Neither is from a paper on proxies; both stand in the tables because
many a proxy ranks no better.
"""

from __future__ import annotations

from torch import nn

from automl_kd.proxies.base import Shared
from automl_kd.proxies.hooks import refuse_words
from automl_kd.proxies.passes import Passes


def live_conv_weights(passes: Passes) -> float:
    """The number of weights of all convolutions, biases left out."""
    refuse_words(passes.student, "live_conv_weights", "counts weights of convolutions", "params or macs")
    return float(sum(layer.weight.numel() for layer in convolutions(passes.student)))


def live_conv_count(passes: Passes) -> float:
    """The number of convolutions, each module once."""
    refuse_words(passes.student, "live_conv_count", "counts convolutions", "params or macs")
    return float(len(convolutions(passes.student)))


def convolutions(student: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in student.modules() if isinstance(layer, nn.Conv2d)]


LIVE_CONV_WEIGHTS, LIVE_CONV_COUNT = Shared(live_conv_weights), Shared(live_conv_count)
