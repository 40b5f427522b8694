"""MeCo: one random image, and how far the channels of each layer are from repeating one another.

Jiang, Wang, Bie. MeCo: Zero-Shot NAS with One Data and Single Forward Pass via Minimum Eigenvalue of Correlation.
2023. NeurIPS 2023: the smallest eigenvalue of the matrix of correlations between the channels of a layer's
map, summed over layers. The variant "opt" takes 8 of a layer's channels and multiplies by channels / 8.

The released code listens to every module, containers included, so that a convolution's map is counted again after its
batch normalisation, with the same correlations, and again for each container that ends in it. Here a layer is a
convolution or a rectifier, and counts once. As in the released code, the image is of noise, twice as high and wide as
the task's (64x64 for CIFAR): at 32x32, the last stage of a usual network has no more pixels than channels, and zero as
its smallest eigenvalue, which is not computed then. Late layers of mobile networks have it at any usual size. "opt"
draws its channels once for each width, not for each layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from automl_kd.errors import ConfigError
from automl_kd.proxies.activations.rectified import once_each
from automl_kd.proxies.base import Shared
from automl_kd.proxies.hooks import require_convolutions, run_with_hooks
from automl_kd.proxies.passes import Passes

CHANNELS = 8
"""As many as "opt" looks at."""

LayerGroup = tuple[Float[Tensor, "layers channels pixels"], Float[Tensor, " layers"]]
"""Maps of equal shape, and how often each is to be counted."""


def smallest_eigenvalues(
    maps: Float[Tensor, "layers channels pixels"],
) -> Float[Tensor, " layers"]:
    """Of the correlations between channels; a channel that does not vary correlates with none, not even itself.

    Centred channels of so many pixels span one dimension less, so that more channels have zero as an eigenvalue.
    """
    if maps.shape[1] >= maps.shape[2]:
        return maps.new_zeros(len(maps))
    centred = F.normalize(maps - maps.mean(2, keepdim=True), dim=2)
    eigenvalues: Tensor = torch.linalg.eigvalsh(centred @ centred.mT)
    return eigenvalues[:, 0]


def layers(passes: Passes) -> list[LayerGroup]:
    """The maps of one image of noise behind convolutions and rectifiers, those of equal shape together."""
    noise = passes.probe.once(f"meco {passes.seed}", lambda: image_of_noise(passes))
    with torch.no_grad():
        _, _, kept = run_with_hooks(passes.student, frozenset({"layers", "relus"}), lambda: passes.student(noise))
    maps = [one for one in (*kept["layers"], *kept["relus"]) if one.ndim == 4]
    if not maps:
        raise ConfigError(
            "meco found no map of a convolution or rectifier in the student, and needs at least one; "
            "leave meco out for networks without convolutions"
        )
    return by_shape(maps)


def image_of_noise(passes: Passes) -> Tensor:
    shape = passes.probe.shape
    noise = torch.randn(1, shape.channels, 2 * shape.height, 2 * shape.width, generator=passes.generator("meco"))
    return noise.to(passes.probe.images)


def by_shape(maps: Sequence[Tensor]) -> list[LayerGroup]:
    groups: dict[torch.Size, list[tuple[Tensor, int]]] = {}
    for one, times in zip(*once_each(maps), strict=True):
        # In the order of memory, channels last; in another, every map would be copied twice.
        groups.setdefault(one.shape, []).append((one[0].movedim(0, -1).flatten(0, 1), times))
    return [
        (torch.stack([one for one, _ in group]).mT, torch.tensor([float(times) for _, times in group]).to(group[0][0]))
        for group in groups.values()
    ]


def meco(passes: Passes) -> Tensor:
    """The sum of the smallest eigenvalues, each in [0, 1] but for rounding. `ConfigError` if there are no maps."""
    require_convolutions(passes.student, "meco")
    groups = passes.once("image of noise", partial(layers, passes))
    return torch.stack([smallest_eigenvalues(group) @ times for group, times in groups]).sum()


def meco_opt(passes: Passes) -> Tensor:
    """The same of 8 random channels of each layer, times channels / 8; of all where there are no more than 8."""
    require_convolutions(passes.student, "meco_opt")
    groups = passes.once("image of noise", partial(layers, passes))
    found = []
    for group, times in groups:
        channels = group.shape[1]
        order = torch.randperm(channels, generator=passes.generator("meco_opt", channels))
        few = group[:, order[:CHANNELS].to(group.device)]
        found.append(smallest_eigenvalues(few) @ times * channels / few.shape[1])
    return torch.stack(found).sum()


MECO, MECO_OPT = Shared(meco), Shared(meco_opt)
