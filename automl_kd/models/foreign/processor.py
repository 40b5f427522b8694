"""What a record of Hugging Face's image processors makes of images: `preprocessor_config.json` in a model's folder.

What a record leaves out is as the processor's own default is, as far as published records leave it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automl_kd.spec import Preprocessing, ResizeRule

PILLOW_NAMES = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}
"""Of Pillow's numbers, which Hugging Face writes."""

SHORTER_SIDE = ("ConvNext", "MobileNet", "MobileViT", "PoolFormer", "Levit", "CLIP", "Bit")
"""Beginnings of processors that take a size given as one number for the shorter side; others make a square of it."""

WARPED_FROM = 384
"""ConvNext's processors squash images of this size and above."""


def read_processor(seen: Mapping[str, Any]) -> tuple[Preprocessing, int]:
    """The preprocessing that a record states, and the height and width of its images.

    `KeyError`, `TypeError` or `ValueError` if it is none that can be followed.
    """
    kind = str(seen.get("image_processor_type", seen.get("feature_extractor_type", "")))
    resolution, crop, resize = read_square(seen, kind)
    factor = float(seen.get("rescale_factor", 1 / 255)) if seen.get("do_rescale", True) else 1.0
    mean, std = read_moments(seen, kind)
    found = Preprocessing(
        mean=mean,
        std=std,
        white=round(255 * factor, 6),
        channels="bgr" if seen.get("do_flip_channel_order") else "rgb",
        crop=crop,
        interpolation=PILLOW_NAMES[seen.get("resample", 2)],  # type: ignore[arg-type]  # checked by the record
        resize=resize,
    )
    return found, resolution


def read_square(seen: Mapping[str, Any], kind: str) -> tuple[int, float, ResizeRule]:
    """Height and width, the part of the shorter side, and how the image becomes square."""
    size = seen.get("size", 224)
    side = shorter_side(size)
    stretched = "height" in size if isinstance(size, Mapping) else not kind.startswith(SHORTER_SIDE)
    if kind.startswith("ConvNext"):
        if side >= WARPED_FROM:
            return side, 1.0, "squash"
        return side, float(seen.get("crop_pct", 224 / 256)), "transformers"
    cut = shorter_side(seen.get("crop_size", 0)) if seen.get("do_center_crop", "crop_size" in seen) else 0
    part = seen.get("crop_pct") or (cut / side if cut else 1.0)
    return cut or side, float(part), "squash" if stretched else "transformers"


def read_moments(seen: Mapping[str, Any], kind: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of what is done after rescaling.

    MobileViT's processor has both in its record and does not normalise. EfficientNet's may subtract 1 before, and
    divides by the deviation a second time for classifiers.
    """
    normalized = seen.get("do_normalize", "image_mean" in seen and not kind.startswith("MobileViT"))
    mean, std = (tuple(seen["image_mean"]), tuple(seen["image_std"])) if normalized else ((0.0,), (1.0,))
    if seen.get("include_top", kind.startswith("EfficientNet")):
        own = tuple(seen["image_std"])
        mean, std = (mean, tuple(one**2 for one in own)) if normalized else ((0.0,) * len(own), own)
    return tuple(one + bool(seen.get("rescale_offset")) for one in mean), std


def shorter_side(size: Any) -> int:
    """Of what Hugging Face writes for a size: a number, {"shortest_edge": n} or {"height": h, "width": w}."""
    if isinstance(size, Mapping):
        return int(size.get("shortest_edge") or min(size.get("height", 0), size.get("width", 0)))
    return int(size)
