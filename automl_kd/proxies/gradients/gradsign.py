"""GradSign: how often the losses of single images agree on the direction in which a weight should move.

Zhang, Jia. GradSign: Model Performance Inference with Theoretical Insights. 2022. arXiv:2110.08616, algorithm 1: the
sum over weights k of |sum_i sign(dl_i/dw_k)| for the cross entropies l_i of single images. As in the code released with
it, an image passes the network alone, so batch normalisation uses that image's own statistics, and convolutional and
linear weights count. One of its versions takes the mean over weights instead, which ranks otherwise networks of
unequal size; here it is the sum, as in the paper.

The released code runs every image by itself. Here one pass has them all, since with statistics of their own the images
of a batch do not depend on each other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd.proxies.base import Shared
from automl_kd.proxies.hooks import LAYERS, refuse_recurrence
from automl_kd.proxies.passes import Passes
from automl_kd.proxies.separate import by_own_statistics, output_gradients, separate, weight_gradients

SIGN_IMAGES = 16
"""How many of the batch are taken at most: the cost grows with them."""


def gradsign(passes: Passes) -> Tensor:
    """sum_k |sum_i sign(dl_i/dw_k)| over the first `SIGN_IMAGES` images i and all convolutional and linear weights k.

    Between 0 and the number of images times the number of weights. Weights that the logits do not depend on count 0.
    Raises `ConfigError` for maps of one position.
    """
    refuse_recurrence(passes.student, "gradsign", "takes single images' gradients of convolutions and linear layers")
    images, labels = passes.probe.images[:SIGN_IMAGES], passes.probe.labels[:SIGN_IMAGES]
    logits, every = separate(passes.student, images, by_own_statistics)
    runs = [run for run in every if isinstance(run.layer, LAYERS)]
    errors = logits.detach().softmax(1) - F.one_hot(labels, logits.shape[1])  # d(cross entropy)/d(logits)
    agreements = [
        weight_gradients(run, gradient).sign_().sum(0).abs_().sum()
        for run, gradient in zip(runs, output_gradients(logits, errors, runs), strict=True)
        if gradient is not None
    ]
    return torch.stack(agreements).sum()


GRADSIGN = Shared(gradsign)
