"""Families of cases of which the quick tests try some, and `make check` all."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_but(quick: Collection[str], names: Iterable[str]) -> list[Any]:
    """Parameters for all of `names`; those that are not in `quick` are slow tests. Each in `quick` is one of them."""
    names = list(names)
    assert set(quick) <= set(names)
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]
