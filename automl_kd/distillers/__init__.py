"""Losses by which a student learns from its teacher: one file each, and the table of their names."""

from __future__ import annotations

from collections.abc import Mapping

from automl_kd.distillers.base import Distiller
from automl_kd.distillers.kd import KD

DISTILLERS: Mapping[str, type[Distiller]] = {"kd": KD}
