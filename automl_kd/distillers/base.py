"""What every distiller is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.models.taps import Outputs


class Distiller(Protocol):
    """Loss terms by name, each a weighted scalar; their sum is minimised.

    Gradients reach the student's outputs and never the teacher's. The outputs are not changed in place, and nothing
    is drawn from a global random generator.
    """

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> Mapping[str, Float[Tensor, ""]]: ...
