"""Outputs of pretended networks: all taps that the zoo's models name, of any widths and sizes, in any floating type."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.losses.base import Example
from automl_kd.models.features import Outputs

CLASSES = 3
IMAGES = 24


def outputs(
    seed: int, *, width: int = 4, size: int = 8, count: int = 6, dtype: torch.dtype = torch.float32, grad: bool = False
) -> Outputs:
    """A stem, three stages (`width` doubling, `size` halving from the second on) and a classifier's input.

    And, as of an encoder of texts, queries, keys and values of `4 * width` channels for up to five tokens.
    """
    generator = torch.Generator().manual_seed(seed)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype).requires_grad_(grad)

    features = {"stem": leaf(count, width, size, size)}
    for stage, (channels, side) in enumerate([(width, size), (2 * width, size // 2), (4 * width, size // 4)], start=1):
        features[f"stage{stage}.pre"] = leaf(count, channels, side, side)
        features[f"stage{stage}"] = features[f"stage{stage}.pre"].relu()
    features["pre_pool"] = features["stage3"]
    features["pooled"] = features["stage3"].mean(dim=(2, 3))
    logits = leaf(count, CLASSES)
    qkv = torch.randn((count, 12 * width, 5, 1), generator=generator)
    for text in range(count):
        qkv[text, :, 2 + text % 4 :] = 0
    return Outputs(logits, {**features, "qkv": qkv.to(dtype).requires_grad_(grad)})


def example(student: Outputs, teacher: Outputs, *, seed: int = 0, epochs: int = 4) -> Example:
    """The index of image i is 2 i + 1, so that a memory which takes indices for rows would be found out."""
    pooled = teacher.features.get("pooled")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        classifier = None if pooled is None else nn.Linear(pooled.shape[1], CLASSES).to(pooled.dtype)
    return Example(
        student,
        teacher,
        labels=torch.arange(IMAGES) % CLASSES,
        index=2 * torch.arange(IMAGES) + 1,
        classes=CLASSES,
        batch=len(student.logits),
        epochs=epochs,
        seed=seed,
        classifier=classifier,
    )


def batch(count: int = 6, *, epoch: int = 4) -> Batch:
    """The first images of the example's set."""
    rows = torch.arange(count)
    return Batch(torch.zeros(count, 1, 8, 8), rows % CLASSES, 2 * rows + 1, epoch)
