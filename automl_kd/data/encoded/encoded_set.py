"""A set of encoded images with its parts, classes and what else a reader found; and the `Source` that it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from automl_kd.data.encoded.index_file import cut_out
from automl_kd.data.encoded.ranges import EncodedImages
from automl_kd.data.encoded.scan import ImageScan
from automl_kd.data.fit import Fit
from automl_kd.data.images.decode import decoded, read_image_size
from automl_kd.data.images.depth import require_depth
from automl_kd.data.images.layout import Kind
from automl_kd.data.source import Source, SourceSplit
from automl_kd.errors import DataError


@dataclass(frozen=True, eq=False, kw_only=True)
class EncodedSet:
    """`images`: those of all parts, one part after the other. `counts`: how many each has; training is the first.

    `class_names`, `made`, `passed_over`: as of a `Source`. `scan`: of all images, if it is known.
    """

    images: EncodedImages
    counts: Mapping[Kind, int]
    class_names: tuple[str, ...]
    made: Mapping[str, str] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    scan: ImageScan | None = None

    def range_of(self, kind: Kind) -> tuple[int, int]:
        begin = 0
        for other, count in self.counts.items():
            if other == kind:
                break
            begin += count
        return begin, begin + self.counts[kind]

    def part(self, kind: Kind) -> EncodedImages:
        return cut_out(self.images, *self.range_of(kind))

    def about(self) -> dict[str, Any]:
        """All but the arrays, as plain values."""
        names = [one.name for one in fields(self) if one.name not in {"images", "scan"}]
        return {name: getattr(self, name) for name in names}

    @staticmethod
    def of(images: EncodedImages, about: Mapping[str, Any], scan: ImageScan | None = None) -> EncodedSet:
        """The inverse of `about`. `KeyError`, `TypeError` or `ValueError` if it is none."""
        names = {one.name for one in fields(EncodedSet)} - {"images", "scan"}
        given = {name: about[name] for name in names}
        found = EncodedSet(images=images, scan=scan, **{**given, "class_names": tuple(given["class_names"])})
        if sum(found.counts.values()) != len(images) or "training" not in found.counts:
            raise ValueError("its parts are not its images")
        return found


def encoded_source(
    found: EncodedSet, path: Path, root: Path, max_value: float, *, files: tuple[Path | EncodedImages, ...]
) -> Source:
    """The set at `path`, whose pixels are decoded when they are asked for; large ones are kept, decoded, below `root`.

    `max_value`: as of `pixels.decode_image`. `files`: as of `Source`. Without test images, those of validation are.
    """
    training = found.part("training")
    if not len(training):
        raise DataError(f"{path} has no images to train on; add some, or give another path")
    first = cut_out(training, 0, 1)
    parts = {kind: encoded_part(found.part(kind), first, root, max_value) for kind in found.counts}
    if (scan := found.scan) is not None:
        known = {kind: scan.take(slice(*found.range_of(kind))) for kind in parts}
        parts = {kind: replace(part, scan=known[kind]) for kind, part in parts.items()}
    made = dict(found.made)
    if borrowed := "validation" in parts and "test" not in parts:
        parts["test"], made["test"] = parts.pop("validation"), made.pop("validation")
    missing = "test/" if borrowed and made["test"].endswith("/") else "test part"
    return Source(
        train=parts["training"],
        validation=parts.get("validation"),
        test=parts.get("test"),
        class_names=found.class_names,
        augment="crop-flip",
        note=f"the test images are those of {made['test']}, as there is no {missing}" if borrowed else "",
        made=made,
        passed_over=found.passed_over,
        files=files,
        judge=lambda split: require_depth(path, training.take(split.index.numpy()), split, max_value),
    )


def encoded_part(images: EncodedImages, first: EncodedImages, root: Path, max_value: float) -> SourceSplit:
    """The images of a split. At their own resolution all must be as large as the image `first`."""

    def pixels(rows: torch.Tensor, fit: Fit) -> torch.Tensor:
        size = (fit.size, fit.size) if fit.size else read_image_size(first, max_value)
        return decoded(images.take(rows.numpy()), size, fit=fit, root=root, max_value=max_value)

    return SourceSplit(torch.from_numpy(np.array(images.labels, dtype=np.int64)), pixels, encoded=images)
