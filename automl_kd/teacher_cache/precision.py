"""Precision of a teacher's outputs: exact, half precision, or an image's largest logits.

`pack` turns outputs into what is stored, `unpack` turns that into outputs again. Both computed and stored outputs pass
through the two, so a trial gets the same numbers either way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from automl_kd.models.features import Outputs

LOGITS, PLACES, REST = "logits", "places", "rest"
FEATURE = "feature/"
"""Before the names of feature layers, apart from the logits'."""

MAX_FLOAT16 = float(torch.finfo(torch.float16).max)


def pack(outputs: Outputs, precision: str) -> dict[str, Tensor]:
    """`precision`: see `TeacherSpec.outputs`. With fewer classes than the logits that "top8" asks for, it keeps all."""
    features = {FEATURE + name: value for name, value in outputs.features.items()}
    everything = {LOGITS: outputs.logits, **features}
    if precision == "float16":
        return {name: rounded(value) for name, value in everything.items()}
    if precision.startswith("top") and (count := int(precision[3:])) < outputs.logits.shape[1]:
        return {**largest(outputs.logits, count), **features}
    return everything


def unpack(kept: Mapping[str, Tensor], precision: str, classes: int) -> Outputs:
    """What `pack` rounded is raised to single precision, in which losses are computed."""
    found = {name: value.float() for name, value in kept.items()} if precision == "float16" else kept
    features = {name.removeprefix(FEATURE): value for name, value in found.items() if name.startswith(FEATURE)}
    return Outputs(spread_logits(kept, classes) if PLACES in kept else found[LOGITS], features)


def rounded(value: Tensor) -> Tensor:
    """To float16, of a number too large for it the largest that it has."""
    return value.clamp(-MAX_FLOAT16, MAX_FLOAT16).to(torch.float16)


def largest(logits: Tensor, count: int) -> dict[str, Tensor]:
    """The `count` largest logits with their places, and the logit that the others share.

    The others' probabilities at temperature 1 sum to what they were: each is given their mean.
    """
    values, places = logits.float().topk(count, dim=1)
    others = logits.float().scatter(1, places, -math.inf)
    rest = torch.logsumexp(others, dim=1, keepdim=True) - math.log(logits.shape[1] - count)
    return {LOGITS: values, PLACES: places.to(place_type(logits.shape[1])), REST: rest}


def place_type(classes: int) -> torch.dtype:
    """The smallest integers that number so many classes."""
    return torch.int16 if classes <= 2**15 else torch.int32


def spread_logits(kept: Mapping[str, Tensor], classes: int) -> Tensor:
    """Logits of all classes from what `largest` made of them."""
    return kept[REST].expand(-1, classes).scatter(1, kept[PLACES].long(), kept[LOGITS])
