"""What records check when they are made."""

from __future__ import annotations


def require(condition: bool, message: str) -> None:
    """Raise `ValueError(message)` unless `condition` holds: what records check when they are made."""
    if not condition:
        raise ValueError(message)
