"""What a student began with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WarmStart:
    """What a student began with. `share`: of its parameters, as a fraction, those that were taken over.

    `layers`: names of its layers that took some. `identities`: blocks and projections that begin as the identity.
    """

    share: float
    layers: tuple[str, ...]
    identities: tuple[str, ...] = ()
