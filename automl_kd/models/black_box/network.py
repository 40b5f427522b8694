"""A network in a file as an `nn.Module`: it runs in pieces of the batch that its graph takes, and is never trained."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.errors import ConfigError, NetworkError
from automl_kd.models.black_box.file import load_graph
from automl_kd.models.black_box.graph import Graph, select_logits
from automl_kd.space import InputShape


class BlackBox(nn.Module):
    """Logits of the graph that `reference` names for images of `shape`; `ConfigError` if it takes other images.

    Copies and pickles hold the reference alone: a process loads each graph once.
    Mode, memory format and autocast make no difference: it runs in the precision of its file, without gradients, and
    its logits are float32. `place` is an empty parameter, which moves with the network and tells on which device it is.
    `stated_macs`: multiply-adds for one image as the user states them; 0 counts them.
    """

    def __init__(self, reference: str, shape: InputShape) -> None:
        super().__init__()
        self.reference, self.shape, self.stated_macs = reference, shape, 0
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)
        refuse_other_images(self.graph, shape)

    @property
    def graph(self) -> Graph:
        return load_graph(self.reference)

    @property
    def params(self) -> int:
        return self.graph.params

    @property
    def macs(self) -> int:
        """For one image; `ConfigError` if they are not stated and cannot be counted."""
        return self.stated_macs or self.graph.count_macs(self.shape)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, height, width) to (batch, outputs), without gradients."""
        ready = images.detach().to(self.graph.input.dtype).contiguous()
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            pieces = [self.run(piece) for piece in torch.split(ready, self.graph.input.most or max(len(ready), 1))]
        return torch.cat(pieces)

    def run(self, piece: Tensor) -> Tensor:
        """At most as many images as the graph takes at once; black ones are added where it takes no fewer."""
        count = len(piece)
        whole = F.pad(piece, (0, 0, 0, 0, 0, 0, 0, max(self.graph.input.least - count, 0)))
        logits = select_logits(self.graph.name, self.graph.run(whole))
        if logits.ndim == 4 and logits.shape[2:] == (1, 1):
            logits = logits.flatten(1)
        if logits.ndim != 2 or len(logits) != len(whole) or not logits.is_floating_point():
            raise NetworkError(
                f"{self.graph.name} returns {str(logits.dtype)[6:]} of shape {tuple(logits.shape)} for {len(whole)} "
                "images, where real numbers (images, classes) were wanted; export the network that returns its logits"
            )
        return logits[:count].float()


def refuse_other_images(graph: Graph, shape: InputShape) -> None:
    """`ConfigError` unless the graph takes images of `shape`."""
    own = graph.input
    if own.channels not in {None, shape.channels}:
        raise ConfigError(
            f"{graph.name} takes images of {own.channels} channels, and the data's have {shape.channels}; export the "
            "network for (batch, channels, height, width) of the data"
        )
    if own.height not in {None, shape.height} or own.width not in {None, shape.width}:
        size = " by ".join("any" if one is None else str(one) for one in (own.height, own.width))
        raise ConfigError(
            f"{graph.name} takes images of {size} pixels, and would be given {shape.height} by {shape.width}; "
            "set teacher.resolution to its size, or export it for images of any size"
        )


def returns_probabilities(outputs: Tensor) -> bool:
    """Whether all rows of (images, outputs), two outputs at least, are non-negative and sum to 1."""
    if outputs.shape[1] < 2 or not bool((outputs >= 0).all()):
        return False
    return all(math.isclose(total, 1.0, abs_tol=1e-3) for total in outputs.double().sum(1).tolist())
