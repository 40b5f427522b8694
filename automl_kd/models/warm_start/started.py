"""What a student began with."""

from __future__ import annotations

from dataclasses import dataclass

from automl_kd.errors import ConfigError


class NothingToTakeError(ConfigError):
    """Of the weights that a student would begin with none has a counterpart in it; it is as it was."""


@dataclass(frozen=True)
class WarmStart:
    """What a student began with. `share`: of its parameters, as a fraction, those that were taken over.

    `layers`: names of its layers that took some. `identities`: blocks and projections that begin as the identity.
    """

    share: float
    layers: tuple[str, ...]
    identities: tuple[str, ...] = ()
