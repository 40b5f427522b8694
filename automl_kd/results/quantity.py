"""Quantities as people write them, read into numbers: "2M", "300k", "20M", "5ms", "0.5MB".

The other direction is `units`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

from automl_kd.errors import ConfigError

QuantityUnit = Literal["params", "macs", "ms", "MB"]
"""What a quantity is of: parameters, multiply-adds of one image, milliseconds, megabytes of 1,000,000 bytes."""

COUNT_FACTORS: Mapping[str, float] = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}
UNIT_FACTORS: Mapping[QuantityUnit, Mapping[str, float]] = {
    "params": COUNT_FACTORS,
    "macs": COUNT_FACTORS,
    "ms": {"": 1, "ms": 1, "us": 1e-3, "µs": 1e-3, "s": 1e3},
    "MB": {"": 1, "mb": 1, "kb": 1e-3, "gb": 1e3, "b": 1e-6, "kib": 1024e-6, "mib": 1.048576, "gib": 1073.741824},
}
"""What a number is multiplied by for each suffix, in lower case; without one it is in the unit itself."""

QUANTITY_EXAMPLES: Mapping[QuantityUnit, str] = {
    "params": "2M, 300k or 270000",
    "macs": "20M, 1.5G or 20000000",
    "ms": "5ms, 0.2s or 5",
    "MB": "0.5MB, 800kB or 2",
}
WHOLE_NUMBER, EXPONENT = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)", r"(?:e[+-]?[0-9]+)?"
QUANTITY = re.compile(rf"(?P<number>{WHOLE_NUMBER}(?:\.[0-9]*)?{EXPONENT}|\.[0-9]+{EXPONENT})(?P<suffix>.*)")
"""Commas stand between thousands alone: whether 1,5 means 1.5 is not guessed."""


def parse_quantity(text: str, unit: QuantityUnit) -> float:
    """The number in `text`, in `unit`: "2M" of params is 2000000.0, "5 ms" of ms is 5.0, "800kB" of MB is 0.8.

    Case and spaces do not matter; a unit's own name may follow, as in "2M params". `ConfigError` for what is no such
    quantity, is zero or is not finite.
    """
    plain = "".join(text.split()).lower()
    if unit in {"params", "macs"}:
        plain = re.sub(r"(parameters|params|macs)$", "", plain)
    found = QUANTITY.fullmatch(plain)
    factor = UNIT_FACTORS[unit].get(found["suffix"]) if found else None
    value = float(found["number"].replace(",", "")) * factor if found and factor else math.nan
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{text!r} is no number of {unit} above zero; write it as {QUANTITY_EXAMPLES[unit]}")
    return value


def read_quantity(given: str | float, unit: QuantityUnit) -> float:
    """As `parse_quantity`, also of a number that is in `unit` already."""
    return parse_quantity(given if isinstance(given, str) else repr(given), unit)
