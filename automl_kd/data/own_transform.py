"""A transform of the user's own, `data.transform = "module:attribute"`, in place of a recipe's augmentation.

A function of a batch, `transform(images, words)`, gets uint8 images (n, channels, height, width) and one random 64-bit
word, int64 (n,), of each: its only source of randomness, so that an image's view does not depend on its batch. An
`nn.Module`, as all transforms of torchvision.transforms.v2 are, gets one image (channels, height, width) at a time, and
torch's generators are seeded with its word before. Both return images of the same size and type.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from automl_kd.data.counter import mix_one
from automl_kd.errors import ConfigError, UnknownNameError
from automl_kd.registry import load_reference, name_type
from automl_kd.storage.content_hash import PIN, digest_content

TRIED_ON = 2
"""Images on which a transform is tried when a set is loaded."""


def pin_transform(reference: str) -> str:
    """`module:attribute` with the content hash of the module's file; one that has a hash is checked.

    `ConfigError` if the module is no file, or has changed since; `UnknownNameError` if there is no such thing.
    """
    pinned = PIN.search(reference)
    plain = reference[: pinned.start()] if pinned else reference
    try:
        load_reference(plain)
    except UnknownNameError as error:
        raise UnknownNameError(f"data.transform = {plain!r}: {error}") from error
    file = getattr(sys.modules[plain.partition(":")[0]], "__file__", None)
    if file is None:
        raise ConfigError(f"data.transform = {plain!r} has no source file; put it into a module of its own")
    digest = digest_content(Path(file))
    if pinned and digest != pinned[1]:
        raise ConfigError(
            f"data.transform = {plain!r}: {file} has changed since this experiment began; put the old content back, or "
            "run the experiment anew under another name"
        )
    return f"{plain}@sha256-{digest}"


@dataclass(frozen=True, eq=False)
class OwnTransform:
    """`name`: how the user calls it. `transform`: what the name stands for."""

    name: str
    transform: Any

    @staticmethod
    def load(reference: str) -> OwnTransform:
        """`ConfigError` unless it can be called."""
        name = PIN.sub("", pin_transform(reference))
        found = load_reference(name)
        if not callable(found) or isinstance(found, type):
            raise ConfigError(
                f"data.transform = {name!r} is {'a class' if isinstance(found, type) else type(found).__name__}; name "
                "a function of (images, words), or an object of torchvision.transforms.v2"
            )
        return OwnTransform(name, found)

    def __call__(self, images: Tensor, words: Tensor) -> Tensor:
        """`ConfigError` for a transform that fails, or returns something else than it was given."""
        try:
            made = self.each(images, words) if isinstance(self.transform, nn.Module) else self.transform(images, words)
        except Exception as error:
            raise ConfigError(
                f"data.transform = {self.name!r} failed ({type(error).__name__}: {error}); "
                "let it take and return uint8 images, which are normalised afterwards"
            ) from error
        if not isinstance(made, Tensor) or made.dtype != torch.uint8 or made.shape != images.shape:
            got = f"{made.dtype} {tuple(made.shape)}" if isinstance(made, Tensor) else name_type(made)
            raise ConfigError(
                f"data.transform = {self.name!r} returned {got} for uint8 {tuple(images.shape)}; let it return images "
                "of the same size and type"
            )
        return made

    def each(self, images: Tensor, words: Tensor) -> Tensor:
        """One image after the other, under torch's generators seeded by its word, which are put back."""
        devices = [images.device] if images.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            made = []
            for image, word in zip(images, words.tolist(), strict=True):
                torch.manual_seed(mix_one(word & (2**64 - 1)))
                made.append(self.transform(image))
        return torch.stack(made) if made else images

    def try_on(self, images: Tensor) -> None:
        """Raise `ConfigError` if it does not fit these images, uint8."""
        few = images[:TRIED_ON].clone()
        self(few, torch.arange(len(few), device=few.device))
