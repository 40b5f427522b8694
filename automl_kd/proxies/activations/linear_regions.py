"""Linear regions: into how many pieces, on each of which it is linear, an untrained network cuts its input space.

Chen, Gong, Wang. Neural Architecture Search on ImageNet in Four GPU Hours: A Theoretically Inspired Perspective
(TE-NAS). 2021. arXiv:2102.11535, section 3.1.2: the number of distinct patterns of rectifiers that are on, over a
sample of inputs. One of the two rankings that TE-NAS adds; the other is the condition number of the tangent kernel.

A batch of whole images lies in as many regions as it has images, whatever the network. The released code therefore
counts with a network one channel wide and 3,000 inputs of one channel and 3x3 pixels, and so do we: crops of the
probe's images, one channel each, and the student thinned until its narrowest convolution has one channel, which keeps
the ratios of its widths. The thin network's weights are the first of the student's, from N(0, 1), scaled to variance
2 / fan-in (the released code draws them of that variance, from a uniform distribution). There, for NAS-Bench-201, the
network is a single cell of all operations that are not pruned yet; here it is the student at its whole depth. We
normalise all inputs as one batch instead of three, and draw once instead of three times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.models.foreign.adoption import unchecked
from automl_kd.proxies.activations.rectified import at_least_one, once_each
from automl_kd.proxies.base import Shared
from automl_kd.proxies.hooks import LAYERS, require_convolutions, run_with_hooks
from automl_kd.proxies.passes import NORMS, Passes

SAMPLES, SIDE = 3000, 3
MAX_SAMPLES = 256
"""Of so many numbers a map is small."""


def linear_regions(passes: Passes) -> Tensor:
    """The number of distinct patterns over the crops, in 1 .. 3,000.

    Raises `ConfigError` if no rectifier module runs, or a convolution has groups, which cannot be thinned.
    """
    require_convolutions(passes.student, "linear_regions", "thins convolutions and reads their rectifiers")
    crops = local_crops(passes.probe.images, passes.generator("linear_regions", "crops"))
    student = passes.student
    with torch.no_grad(), unchecked(student), thin_and_small(student, thinned(student)):
        _, _, kept = run_with_hooks(student, frozenset({"relus"}), lambda: student(crops))
    maps, _ = once_each(at_least_one(kept["relus"], "linear_regions"))
    return count_distinct_codes([on(one) for one in maps], passes.generator("linear_regions", "names"))


def local_crops(
    images: Float[Tensor, "batch channels height width"], generator: torch.Generator
) -> Float[Tensor, "samples 1 down along"]:
    """Random crops of random channels, with a window of at most 3x3."""
    sides = [min(SIDE, extent) for extent in images.shape[2:]]
    limits = [*images.shape[:2], *[extent - side + 1 for extent, side in zip(images.shape[2:], sides, strict=True)]]
    # One row for each: image, channel, top, left.
    drawn = [torch.randint(limit, (SAMPLES, 1, 1), generator=generator).to(images.device) for limit in limits]
    down, along = (torch.arange(side, device=images.device) for side in sides)
    return images[drawn[0], drawn[1], drawn[2] + down[:, None], drawn[3] + along][:, None]


def thinned(student: nn.Module) -> dict[str, Tensor]:
    """Parameters of the same network with the least width that keeps the ratios."""
    convolutions = [one for one in student.modules() if isinstance(one, nn.Conv2d)]
    if any(one.groups > 1 for one in convolutions):
        raise ConfigError(
            "linear_regions thins the student and met a convolution with groups, where only ordinary ones can lose "
            "channels; leave linear_regions out for this space"
        )
    factor = min((one.out_channels for one in convolutions), default=1)
    found: dict[str, Tensor] = {}
    for path, module in student.named_modules():
        held = {f"{path}.{name}": one.detach() for name, one in module._parameters.items() if one is not None}
        if isinstance(module, NORMS):
            found |= {name: one[: less(len(one), factor)] for name, one in held.items()}
        elif isinstance(module, LAYERS):
            found |= {name: thin_weight(one, factor, isinstance(module, nn.Linear)) for name, one in held.items()}
    return found


def thin_weight(values: Tensor, factor: int, classifier: bool) -> Tensor:
    """A bias, or a weight scaled to variance 2 / fan-in. A linear layer keeps its outputs, which are classes."""
    kept = values if classifier else values[: less(len(values), factor)]
    if kept.ndim == 1:
        return kept
    kept = kept[:, : less(kept.shape[1], factor)]
    return kept * math.sqrt(2 / kept[0].numel())


@contextmanager
def thin_and_small(student: nn.Module, parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """Layers with other `parameters`, by their names, and in a way that is several times faster for small maps.

    Convolutions and pools are products of matrices, and the images of a batch lie last in memory. The maps are what
    they would be but for the order of sums; batch normalisation keeps no statistics.
    """
    replaced: list[nn.Module] = []
    for path, module in student.named_modules():
        weight, bias = (parameters.get(f"{path}.{name}") for name in ("weight", "bias"))
        if isinstance(module, nn.Conv2d) and weight is not None:
            vars(module)["forward"] = partial(layer_as_product, partial(module._conv_forward, weight=weight, bias=bias))
        elif isinstance(module, nn.AvgPool2d):
            vars(module)["forward"] = partial(layer_as_product, module.forward)
        elif isinstance(module, nn.Linear) and weight is not None:
            vars(module)["forward"] = partial(F.linear, weight=weight, bias=bias)
        elif isinstance(module, NORMS):
            vars(module)["forward"] = partial(normalize_samples, weight, bias, module.eps)
        else:
            continue
        replaced.append(module)
    try:
        yield
    finally:
        for module in replaced:
            del vars(module)["forward"]


def layer_as_product(layer: Callable[[Tensor], Tensor], x: Float[Tensor, "samples inputs down along"]) -> Tensor:
    """What a linear layer makes of `x`, from what it makes of each number that a map has room for."""
    size = x[0].numel()
    if size > MAX_SAMPLES:
        return layer(x)
    columns = x.movedim(0, -1).reshape(size, -1)
    numbers = torch.eye(size + 1, size, dtype=x.dtype, device=x.device).view(-1, *x.shape[1:])
    made_of_each = layer(numbers)
    nothing = made_of_each[-1:]  # zero, or a bias
    weights = (made_of_each[:-1] - nothing).flatten(1)
    made = torch.addmm(nothing.flatten()[:, None], weights.T, columns)
    return made.view(*nothing.shape[1:], -1).movedim(-1, 0)


def normalize_samples(
    weight: Tensor | None, bias: Tensor | None, eps: float, x: Float[Tensor, "samples channels *place"]
) -> Tensor:
    """Batch normalisation by the batch's own statistics."""
    last = x.movedim(0, -1)
    rows = last.flatten(1)
    centred = rows - rows.mean(1, keepdim=True)
    made = centred * (centred.square().mean(1, keepdim=True) + eps).rsqrt_()
    if weight is not None and bias is not None:
        made = torch.addcmul(bias[:, None], made, weight[:, None])
    return made.view(last.shape).movedim(-1, 0)


def less(width: int, factor: int) -> int:
    return max(1, width // factor)


def on(feature_map: Float[Tensor, "samples channels *place"]) -> Bool[Tensor, "units samples"]:
    return feature_map.movedim(0, -1).flatten(0, -2) > 0


def count_distinct_codes(codes: list[Bool[Tensor, "_ samples"]], generator: torch.Generator) -> Int[Tensor, ""]:
    """How many columns differ, all codes of a sample taken as one column.

    A column is known by the sum of random 63-bit numbers, one for each unit that is on, modulo 2^64: among 3,000, two
    that differ have the same sum with a probability below 10^-12.
    """
    names = torch.zeros(codes[0].shape[1], dtype=torch.int64, device=codes[0].device)
    for units in codes:
        numbers = torch.randint(2**63 - 1, (len(units), 1), generator=generator).to(units.device)
        names += torch.where(units, numbers, 0).sum(0)
    ordered = names.sort().values
    return (ordered[1:] != ordered[:-1]).sum() + 1


LINEAR_REGIONS = Shared(linear_regions)
