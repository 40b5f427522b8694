"""A teacher of one's own, an `nn.Module` with its weights, and images as arrays: distilled into a small student.

Run it in the repository's top folder: python examples/own_teacher.py
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

import automl_kd as akd


class Teacher(nn.Module):
    """Any network that takes images (batch, channels, height, width) and returns logits (batch, classes)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(4 * width, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images))
        return logits


def train_teacher(images: Tensor, labels: Tensor) -> Teacher:
    torch.manual_seed(0)
    teacher = Teacher()
    optimizer = torch.optim.AdamW(teacher.parameters(), lr=0.01)
    for _ in range(4):
        for rows in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(teacher(images[rows]), labels[rows]).backward()
            optimizer.step()
    return teacher.eval()


def main(out: str = "results/example-own-teacher") -> None:
    digits = load_digits()
    pixels, labels = (digits.images * 255 / 16).astype(np.uint8), digits.target.astype(np.int64)
    data = {"x_train": pixels[:1000], "y_train": labels[:1000], "x_test": pixels[1000:], "y_test": labels[1000:]}
    # How this teacher's images are normalised: it was trained with these numbers, so they come with it.
    preprocessing = akd.Preprocessing(mean=(0.5,), std=(0.5,))
    images = (torch.from_numpy(data["x_train"])[:, None].float() / 255 - 0.5) / 0.5
    teacher = train_teacher(images, torch.from_numpy(data["y_train"]))

    result = akd.distill(
        "resnet8",
        akd.Teacher(teacher, preprocessing=preprocessing),
        data,
        method=akd.methods.KD(temperature=4.0),
        epochs=3,
        seeds=1,
        out=out,
        settings={"trial.max_concurrent": 1},
    )
    print(result.verdict)
    best = result.best
    logits = best.student(best.preprocess(Image.fromarray(pixels[1700])))
    print(f"a picture of {labels[1700]} is taken for {int(logits.argmax())}")


if __name__ == "__main__":
    main(*sys.argv[1:])
