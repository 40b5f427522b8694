"""What networks of this room are built for."""

from __future__ import annotations

from automl_kd.errors import ConfigError
from automl_kd.space import InputShape, TextShape


def as_text(shape: InputShape) -> TextShape:
    """The shape itself; `ConfigError` if it is of images."""
    if not isinstance(shape, TextShape):
        raise ConfigError("this network takes texts, and the data are images; choose text:PATH as data.name")
    return shape
