"""NASWOT: an untrained network is promising if its activation patterns differ between the images of a batch.

Mellor, Turner, Storkey, Crowley. Neural Architecture Search without Training. 2021. arXiv:2006.04647, section 3: the
pattern of an image is the binary code of which rectified units are on, the kernel of two images counts the units on
which their codes agree, and the score is the logarithm of the kernel's determinant.

Code that finds rectifiers by looking for "ReLU" in class names, as code released with several papers does, also meets
the containers so named (`ReLUConvBN`) and counts their layers twice. Here only rectifier modules count, each as often
as it runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float64, Int8, Num
from torch import Tensor

from automl_kd.proxies.activations.rectified import active_units, once_each
from automl_kd.proxies.base import Shared
from automl_kd.proxies.passes import Passes


def both_on(units: Int8[Tensor, "batch units"]) -> Num[Tensor, "batch batch"]:
    """How many units are on for image i and for image j as well: c c^T of the 0-1 codes c. Exact below 2^24 units."""
    if units.device.type == "cpu" and units.shape[1] > 1:  # of a single column torch leaves the product unwritten
        # Bytes counted in int32: a quarter of the memory of floats, and no rounding. A product of bfloat16 would be
        # as quick, but returns the counts in bfloat16, which has none of the odd numbers above 256.
        return torch._int_mm(units, units.T)
    codes = units.float()
    return codes @ codes.T


def total_agreement(
    counts: Sequence[Num[Tensor, "batch batch"]], times: Sequence[int]
) -> Float64[Tensor, "batch batch"]:
    """Over all rectifiers, each counted so often.

    Exact below 2^53 units; floats of single precision would lose units from 2^24 on.
    """
    weights = torch.tensor(times, dtype=torch.float64).to(counts[0].device)
    found: Tensor = torch.tensordot(weights, torch.stack([*counts]).double(), 1)
    return found


def agreement(on: Num[Tensor, "batch batch"], units: int) -> Num[Tensor, "batch batch"]:
    """How many of `units` are in the same state, c c^T + (1 - c)(1 - c)^T, from `on`, which is c c^T.

    Multiplied out this is 2 c c^T + units - |c_i| - |c_j|, where the diagonal of c c^T holds the sizes |c_i|.
    """
    sizes = on.diagonal()
    return 2 * on + units - sizes[:, None] - sizes[None, :]


def naswot(passes: Passes) -> Tensor:
    """The log determinant of the kernel summed over all rectifiers; minus infinity if two images share all codes.

    Raises `ConfigError` if no rectifier module runs.
    """
    relus = passes.forward.relus
    maps, times = once_each(relus)
    on = total_agreement([both_on(units) for units in active_units(maps, "naswot")], times)
    units = sum(one[0].numel() for one in relus)
    sign, log_determinant = torch.linalg.slogdet(agreement(on, units))
    return torch.where(sign > 0, log_determinant, -torch.inf)


NASWOT = Shared(naswot, sees=("relus",))
