"""Layers that bring a student's maps to a teacher's shape. Which loss uses which is that loss's choice."""

from __future__ import annotations

from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.models.blocks import convolution


def projection(inputs: int, outputs: int) -> nn.Sequential:
    """A 1x1 convolution with batch normalisation: another width, the same height and width."""
    return nn.Sequential(convolution(inputs, outputs, 1), nn.BatchNorm2d(outputs))


def resizing(loss: str, student: Tensor, teacher: Tensor) -> nn.Module:
    """One convolution from maps shaped like `student` to maps shaped like `teacher`, both (batch, channels, h, w).

    From twice the size a 3x3 one of stride 2, to twice the size a transposed 4x4 one, and a valid one of kernel
    1 + the difference where the student's map is otherwise larger or equal. Anything else is a `ConfigError`.
    """
    (c_s, h_s, w_s), (c_t, h_t, w_t) = student.shape[1:], teacher.shape[1:]
    if (h_s, w_s) == (2 * h_t, 2 * w_t):
        return nn.Conv2d(c_s, c_t, 3, stride=2, padding=1)
    if (2 * h_s, 2 * w_s) == (h_t, w_t):
        return nn.ConvTranspose2d(c_s, c_t, 4, stride=2, padding=1)
    if h_s >= h_t and w_s >= w_t:
        return nn.Conv2d(c_s, c_t, (1 + h_s - h_t, 1 + w_s - w_t))
    raise ConfigError(
        f"{loss} cannot bring the student's map of {h_s}x{w_s} to the teacher's {h_t}x{w_t}; choose a stage where the "
        "student's is half as large, equal or larger"
    )
