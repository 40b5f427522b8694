"""Accuracy and loss of a network on one split."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import nn

from automl_kd import distributed
from automl_kd.data import Dataset, Split, follow_rows, plain_view
from automl_kd.models.memory_layout import laid_out
from automl_kd.results.store.row import Precision
from automl_kd.space import InputShape
from automl_kd.spec import Recipe
from automl_kd.tasks import TaskMeasures

EVALUATION_BATCH = 512
"""Images that are evaluated together, where memory allows."""

CACHED_PIXELS, LEAST_BATCH = 2**20, 16
"""Of the images that a processor evaluates together. Half of the time of larger batches goes into fetching their
layers' outputs from memory: mobile students at 96 pixels, measured on one core, 3.5 ms for an image at 512 and 1.7 ms
at 128.
"""


def autocast(device: torch.device, recipe: Recipe) -> torch.autocast:
    """bfloat16 on CUDA if the recipe uses it and the GPU supports it; elsewhere float32, in which the CPU is exact
    and no slower here.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16(device, recipe))


def in_bfloat16(device: torch.device, recipe: Recipe) -> bool:
    """Whether passes of this recipe run in bfloat16 on this device."""
    return recipe.amp and device.type == "cuda" and computes_bfloat16(device)


@cache
def computes_bfloat16(device: torch.device) -> bool:
    """Whether the GPU has bfloat16 in hardware; older ones emulate it, more slowly than they compute in float32."""
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def precision_of(model: nn.Module, device: torch.device, recipe: Recipe) -> Precision:
    """The precision of the network's products; its weights may have another."""
    if in_bfloat16(device, recipe):
        return "bfloat16"
    example = next((value for value in model.parameters() if value.is_floating_point()), torch.empty(0))
    names: dict[torch.dtype, Precision] = {torch.float64: "float64", torch.float16: "float16"}
    return names.get(example.dtype, "bfloat16" if example.dtype == torch.bfloat16 else "float32")


def evaluation_batch(device: torch.device, recipe: Recipe, shape: InputShape) -> int:
    """How many images of `shape` to evaluate together.

    On a device with a memory of its own at most twice those of which a training step holds every layer's outputs:
    without gradients only two layers' are held. On the processor what its caches hold, always the same for a shape, as
    sums over other batches end in other bits.
    """
    if device.type == "cpu":
        fitting = max(LEAST_BATCH, CACHED_PIXELS // shape.pixels)
        return min(EVALUATION_BATCH, 1 << fitting.bit_length() - 1)
    return min(EVALUATION_BATCH, 2 * math.ceil(recipe.batch_size / (recipe.grad_accumulation * distributed.size())))


def evaluate(
    model: nn.Module, dataset: Dataset, split: Split, recipe: Recipe, batch: int | None = None
) -> TaskMeasures:
    """What the set's task follows, and the mean loss on labels, in evaluation mode; the mode is put back.

    `batch`: images at once; None for `evaluation_batch`. In a process group each process takes some of the batches, and
    all get the same answer.
    """
    device = split.labels.device
    batch = evaluation_batch(device, recipe, dataset.shape) if batch is None else batch
    sums = dataset.task.count(torch.zeros(0, dataset.shape.classes, device=device), split.labels[:0])
    training = model.training
    follow_rows(split, batch)
    model.eval()
    with torch.inference_mode(), autocast(device, recipe):
        order = split.in_order(torch.arange(len(split), device=split.row_device))
        for rows in torch.split(order, batch)[distributed.rank() :: distributed.size()]:
            inputs = laid_out(plain_view(dataset, split, rows), recipe)
            sums += dataset.task.count(model(inputs).float(), split.labels[rows])
    model.train(training)
    return dataset.task.measure(distributed.sum_over_group(sums), len(split))
