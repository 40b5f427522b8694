"""How a network and its images lie in memory: as the recipe wants it, or rows last if it can only be run so.

A forward function that flattens by `view` asks for rows last, and fails where channels are. A few convolutions damage
memory with channels last on some processors (`onednn`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from automl_kd.models.costs.cost import blank_inputs, evaluating
from automl_kd.models.foreign.adoption import Door, adopt, find_door
from automl_kd.models.foreign.onednn import must_stay_contiguous
from automl_kd.space import InputShape


def lay_out(model: nn.Module, shape: InputShape, layout: torch.memory_format) -> bool:
    """Put the network's weights into `layout`, or keep them contiguous; whether the layout could be had.

    It is tried in evaluation mode on black images, unless it could damage memory. A network that runs in neither way is
    left in `layout`, where the error will come up. Random state and buffers stay.
    """
    door = door_of(model, shape)
    if layout == torch.channels_last and must_stay_contiguous(model, shape):
        keep_contiguous(model, shape)
        return False
    door.contiguous = False
    model.to(memory_format=layout)
    if layout == torch.contiguous_format or runs(model, shape, layout):
        return True
    keep_contiguous(model, shape)
    if runs(model, shape, layout):
        return False
    door.contiguous = False
    model.to(memory_format=layout)
    return True


def keep_contiguous(model: nn.Module, shape: InputShape) -> None:
    """Rows last, for its weights and for whatever images it is given."""
    model.to(memory_format=torch.contiguous_format)
    door_of(model, shape).contiguous = True


def door_of(model: nn.Module, shape: InputShape) -> Door:
    door = find_door(adopt(model, shape))
    assert door is not None
    return door


def runs(model: nn.Module, shape: InputShape, layout: torch.memory_format) -> bool:
    images = blank_inputs(model, shape, 2)
    images = images.contiguous(memory_format=layout) if images.ndim == 4 else images
    with torch.random.fork_rng([images.device] if images.is_cuda else []), in_evaluation_mode(model), torch.no_grad():
        try:
            model(images)
        except Exception:  # whatever anybody's forward function raises
            return False
    return True


@contextmanager
def in_evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; what a network writes into its buffers even so is undone."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with evaluating(model):
        yield
    with torch.no_grad():
        for buffer, values in kept:
            buffer.copy_(values)
