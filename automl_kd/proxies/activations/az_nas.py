"""AZ-NAS: expressivity, progressivity and trainability of an untrained network's blocks, ranked together with its size.

Lee, Ham. AZ-NAS: Assembling Zero-Cost Proxies for Network Architecture Search. 2024. arXiv:2403.19232, section 3. The
blocks are the stem and every block of every stage.

    expressivity    the entropy of the principal components' shares of variance, summed over blocks
    progressivity   the least growth of that entropy from a block to the next
    trainability    the mean over blocks of 2 - s - 1/s, where s is the greatest singular value of the block's
                    Jacobian, averaged over the pixels of all images; at best 0, for s = 1

The Jacobian is estimated with one backward pass of random signs v: E[(J^T v) v^T] = J^T. As in the released code, the
images are noise, weights are Kaiming normal, a block that hands on its input has a trainability of minus infinity, and
where a block halves the resolution, the pixels that one pixel comes from are its input's channels. The probe's own
images rank otherwise: in 60 cells of NAS-Bench-201 with equal weights, the ranks of progressivity on noise and on
CIFAR-10 had a correlation of 0.42.

A batch of 32 does as well as one of 64: with 400 random cells, Kendall's tau of az_nas with the three accuracies is
0.745, 0.722 and 0.713 for both, and the three parts do no worse. With 16 it is 0.740, 0.716 and 0.701: trainability
by itself then ranks better, but adds less to the others.

The fourth part is the number of multiply-adds; the four ranks are combined as log-rank sum.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from automl_kd.errors import ConfigError
from automl_kd.proxies.base import Shared
from automl_kd.proxies.hooks import LAYERS, require_convolutions, run_with_hooks
from automl_kd.proxies.passes import Passes, proxy_generator

NOISE_IMAGES = 32
"""Of noise, at most; no more than the probe has, whose number is the user's to choose."""
SINGULAR_VALUE_FLOOR = 1e-6
"""Added to a singular value that is divided by."""


def spectrum_entropy(feature_map: Float[Tensor, "batch channels height width"]) -> Float[Tensor, ""]:
    """Of the shares that the covariance's eigenvalues have in their sum, in [0, log channels]; nan for a constant map.

    Every pixel of every image is a sample of as many numbers as there are channels.
    """
    samples = pixels(feature_map)
    # E[x x^T] - m m^T instead of centring first: batch normalisation has left means that are small beside the spread.
    mean = samples.mean(0)
    covariance = samples.T @ samples / len(samples) - mean[:, None] * mean
    eigenvalues = torch.linalg.eigvalsh(covariance).clamp_min(0)
    shares = eigenvalues / eigenvalues.sum()
    entropy: Tensor = -torch.special.xlogy(shares, shares).sum()
    return entropy


def pixels(feature_map: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "samples channels"]:
    return feature_map.movedim(1, -1).flatten(0, -2)


def entropies(passes: Passes) -> Float[Tensor, " blocks"]:
    maps = block_maps(passes)
    return passes.once("block entropies", lambda: torch.stack([spectrum_entropy(one.detach()) for one in maps]))


def block_maps(passes: Passes) -> list[Tensor]:
    """The maps of stem and blocks for images of noise, as large as the probe's; with their graph if somebody sees it.

    Raises `ConfigError` for fewer than 2.
    """
    found = passes.once("blocks of noise", partial(run_blocks, passes))
    if len(found) < 2:
        raise ConfigError(
            f"az_nas compares a student's blocks and found {len(found)}, where at least 2 are needed; "
            "put the blocks of each stage in an nn.Sequential or leave az_nas out"
        )
    return found


def run_blocks(passes: Passes) -> list[Tensor]:
    noise = passes.probe.once(f"az_nas {passes.seed}", partial(draw_noise, passes)).detach().requires_grad_()
    graph = "noise_graph" in passes.sees
    # Only the images have a gradient, so backward works out none by weights.
    student, weights = passes.student, kaiming_initialized(passes.student)
    with torch.set_grad_enabled(graph):
        _, _, kept = run_with_hooks(student, frozenset({"blocks"}), lambda: functional_call(student, weights, (noise,)))
    return [one for one in kept["blocks"] if one.ndim == 4]


def draw_noise(passes: Passes) -> Float[Tensor, "images channels height width"]:
    like = passes.probe.images
    noise = torch.randn((min(NOISE_IMAGES, len(like)), *like.shape[1:]), generator=passes.generator("az_nas"))
    return noise.to(like.device, like.dtype).contiguous(memory_format=torch.channels_last)


def kaiming_initialized(student: nn.Module) -> dict[str, Tensor]:
    """Its parameters without gradient, the weights of layers, drawn from N(0, 1), scaled to variance 2 / fan-in."""
    found = {name: one.detach() for name, one in student.named_parameters()}
    for path, module in student.named_modules():
        if isinstance(module, LAYERS):
            found[f"{path}.weight"] = module.weight.detach() * math.sqrt(2 / module.weight[0].numel())
    return found


def expressivity(passes: Passes) -> Tensor:
    """Minus infinity if a block's map is constant. Raises `ConfigError` for fewer than 2 blocks."""
    require_convolutions(passes.student, "az_expressivity")
    return or_least(entropies(passes).sum())


def progressivity(passes: Passes) -> Tensor:
    """Minus infinity if a block's map is constant. Raises `ConfigError` for fewer than 2 blocks."""
    require_convolutions(passes.student, "az_progressivity")
    return or_least(entropies(passes).diff().min())


def trainability(passes: Passes) -> Tensor:
    """At most 0. Minus infinity if a block is the identity. Raises `ConfigError` for fewer than 2 blocks."""
    require_convolutions(passes.student, "az_trainability")
    maps = block_maps(passes)
    return torch.stack(
        [block_trainability(*pair, random_signs(passes.seed, pair[1])) for pair in pairwise(maps)]
    ).mean()


def block_trainability(entering: Tensor, leaving: Tensor, signs: Tensor) -> Float[Tensor, ""]:
    (back,) = torch.autograd.grad(leaving, entering, signs, retain_graph=True, allow_unused=True)
    if back is None:
        back = torch.zeros_like(entering)
    samples = pixels(signs)
    jacobian = pixels(fold_windows(back, signs)).T @ samples / len(samples)
    # Of random signs only those that came back as they went are 1 on average exactly, in every channel.
    same = (jacobian.diagonal() == 1).all() & (back.shape == signs.shape)
    # The norm from the smaller of two Gram matrices: cheaper than singular values, and only the greatest is wanted.
    gram = jacobian @ jacobian.T if len(jacobian) < jacobian.shape[1] else jacobian.T @ jacobian
    greatest = torch.linalg.eigvalsh(gram)[-1].clamp_min(0).sqrt()
    return torch.where(same, -torch.inf, 2 - greatest - 1 / (greatest + SINGULAR_VALUE_FLOOR))


def random_signs(seed: int, like: Tensor) -> Tensor:
    """1 or -1 for each element of a map: the same for all students of a draw, and drawn for the first of them."""
    return drawn_signs(seed, like.shape, like.dtype, like.device)


@lru_cache(maxsize=8)
def drawn_signs(seed: int, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Channels last in memory."""
    batch, channels, height, width = shape
    generator = proxy_generator(seed, "az_trainability", *shape)
    with torch.inference_mode(False):
        raw = torch.randint(2, (shape.numel(),), generator=generator, dtype=torch.int8).to(device)
        return raw.to(dtype).mul_(2).sub_(1).view(batch, height, width, channels).movedim(-1, 1)


def fold_windows(back: Tensor, signs: Tensor) -> Tensor:
    """`back` at the resolution of `signs`, the pixels of a window as channels; its edge is padded with zeros."""
    (high, wide), (height, width) = back.shape[2:], signs.shape[2:]
    factor = max(-(-high // height), -(-wide // width))
    padded = F.pad(back, (0, factor * width - wide, 0, factor * height - high))
    return F.pixel_unshuffle(padded, factor) if factor > 1 else padded


def or_least(score: Tensor) -> Tensor:
    return torch.where(score.isnan(), -torch.inf, score)


AZ_EXPRESSIVITY = Shared(expressivity)
AZ_PROGRESSIVITY = Shared(progressivity)
AZ_TRAINABILITY = Shared(trainability, sees=("noise_graph",))
