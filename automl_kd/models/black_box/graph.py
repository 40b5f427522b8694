"""What is known of a network in a file before it runs: its images, how many it takes at once, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from automl_kd.errors import ConfigError
from automl_kd.space import InputShape

LOGITS_NAME = "logits"
"""Of several outputs, the one of this name is taken."""


@dataclass(frozen=True)
class GraphInput:
    """What the graph takes: images of (batch, channels, height, width); None for what it leaves open.

    `least`, `most`: images at once, 1 or more; equal for a graph of a fixed batch. `dtype`: a real type.
    """

    channels: int | None
    height: int | None
    width: int | None
    least: int
    most: int | None
    dtype: torch.dtype

    @property
    def resolution(self) -> int:
        """Height and width if the graph fixes both to the same number, else 0."""
        return self.height if self.height is not None and self.height == self.width else 0


class Graph(Protocol):
    """A network in a file. It is never changed, so that copies of a network share it.

    `name`: of the file, for people. `params`: numbers that it has learned, statistics of normalisations excluded.
    """

    name: str
    params: int
    input: GraphInput

    def run(self, images: Tensor) -> object:
        """What it returns for as many images as it takes at once, contiguous and of its type, on their device."""
        ...

    def count_macs(self, shape: InputShape) -> int:
        """Multiply-adds for one image; raise `ConfigError` if they cannot be counted."""
        ...

    def describe_runtime(self) -> str:
        """What runs it, for people."""
        ...

    def identify_runtime(self, device: str) -> str:
        """What decides how its outputs round on a device of this type, beside torch; empty where nothing does."""
        ...


@dataclass(frozen=True)
class GraphBatch:
    """How many images a graph takes at once: from `least` to `most`, None for no limit."""

    least: int = 1
    most: int | None = None


def read_input(name: str, dims: tuple[int | None, ...], dtype: torch.dtype | None, batch: GraphBatch) -> GraphInput:
    """The input of the graph called `name`; raise `ConfigError` unless it is a batch of images of real numbers."""
    if len(dims) != 4:
        raise ConfigError(
            f"{name} takes a tensor of {len(dims)} axes where images (batch, channels, height, width) were wanted; "
            "export the network with such images"
        )
    if dtype is None or not dtype.is_floating_point:
        kind = str(dtype).removeprefix("torch.") if dtype is not None else "another type"
        raise ConfigError(f"{name} takes images of {kind} where real numbers were wanted; export it with float32")
    _, channels, height, width = dims
    return GraphInput(channels, height, width, batch.least, batch.most, dtype)


def uncountable(name: str, what: str) -> ConfigError:
    return ConfigError(
        f"the multiply-adds of {name} cannot be counted, because of {what}; state those of one image as teacher.macs"
    )


def select_logits(name: str, made: object) -> Tensor:
    """The only tensor of what a graph returned, or the one called "logits"; raise `ConfigError` if there is neither."""
    named = made.get(LOGITS_NAME) if isinstance(made, Mapping) else getattr(made, LOGITS_NAME, None)
    members = list(made.values()) if isinstance(made, Mapping) else made
    several = list(members) if isinstance(members, tuple | list) else [members]
    found = named if named is not None else several[0] if len(several) == 1 else None
    if not isinstance(found, Tensor):
        raise ConfigError(
            f"{name} returns {len(several)} outputs of which none is called {LOGITS_NAME!r}; export the network with "
            "its logits as the only output, or with this name"
        )
    return found
