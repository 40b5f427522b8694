"""How inputs lie in memory: images with channels last where that is faster, texts as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from automl_kd.spec import Recipe


def laid_out(inputs: Tensor, recipe: Recipe) -> Tensor:
    """The inputs as the recipe wants them to lie in memory."""
    return channels_last(inputs) if recipe.channels_last else inputs


def channels_last(inputs: Tensor) -> Tensor:
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs
