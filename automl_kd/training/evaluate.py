"""Accuracy and loss of a network on one split."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from automl_kd import team
from automl_kd.data import Dataset, Split, plain_view
from automl_kd.spec import Recipe


def autocast(device: torch.device, recipe: Recipe) -> torch.autocast:
    """bfloat16 on CUDA if the recipe wants it; elsewhere float32, in which the CPU is exact and no slower here."""
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe.amp and device.type == "cuda")


def evaluate(model: nn.Module, dataset: Dataset, split: Split, recipe: Recipe, batch: int = 512) -> tuple[float, float]:
    """Fraction of images classified right, and mean cross entropy, in evaluation mode; the mode is put back.

    In a team each process takes some of the batches, and all get the same answer.
    """
    device = split.labels.device
    right = torch.zeros((), device=device, dtype=torch.int64)
    loss = torch.zeros((), device=device, dtype=torch.float64)
    training = model.training
    model.eval()
    with torch.inference_mode(), autocast(device, recipe):
        for rows in torch.split(torch.arange(len(split), device=device), batch)[team.rank() :: team.size()]:
            images = plain_view(dataset, split, rows)
            if recipe.channels_last:
                images = images.contiguous(memory_format=torch.channels_last)
            logits, labels = model(images).float(), split.labels[rows]
            right += (logits.argmax(1) == labels).sum()
            loss += F.cross_entropy(logits, labels, reduction="sum").double()
    model.train(training)
    right, loss = team.total(torch.stack([right.double(), loss])).tolist()
    return right / len(split), loss / len(split)
