"""Encoded images after all of them were looked at: flawed ones are named or left out, and the set has an identity."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from automl_kd.data.encoded.encoded_set import encoded_part
from automl_kd.data.encoded.index_file import cut_out
from automl_kd.data.encoded.ranges import EncodedImages
from automl_kd.data.encoded.scan import FLAWS, ImageScan, identity, scan_images
from automl_kd.data.kept import alone, ground
from automl_kd.data.load_progress import SCANNING, LoadProgress, ignore_progress
from automl_kd.data.source import Source, SourceSplit
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec

NAMED = 3
"""Flawed images that a note names."""


class CheckedSource(NamedTuple):
    """`identity`: of its labels and encoded bytes; empty for a source that is not of encoded images."""

    source: Source
    identity: str


def check_encoded(source: Source, spec: DataSpec, root: Path, notify: LoadProgress = ignore_progress) -> CheckedSource:
    """Look at the bytes of all images of `source`, of which what was found is kept below `root`.

    With `on_error` "fail" in `spec` a flawed image is a `DataError` that names it and counts the others; with "skip"
    such images are left out, counted and noted.
    """
    parts = encoded_parts(source)
    if not parts:
        return CheckedSource(source, "")
    images = {name: part.encoded for name, part in parts.items() if part.encoded is not None}
    scans = {name: parts[name].scan or scan_part(name, one, root, notify) for name, one in images.items()}
    flawed = {name: np.flatnonzero(scan.flaws) for name, scan in scans.items()}
    if any(map(len, flawed.values())):
        if spec.on_error == "fail":
            raise DataError(sentence_about(parts, scans, flawed))
        source, scans = leave_out(source, images, scans, root, spec.max_value)
    source = with_scans(source, scans)
    labels = {name: part.labels.numpy() for name, part in encoded_parts(source).items()}
    return CheckedSource(source, identity({name: (labels[name], scan.digests) for name, scan in scans.items()}))


def encoded_parts(source: Source) -> dict[str, SourceSplit]:
    """The parts of a source of encoded images, by name; the first is that to train on."""
    parts = {
        "training": source.train,
        "validation": source.validation,
        "test": source.test,
        "unlabelled": source.unlabelled,
    }
    return {name: part for name, part in parts.items() if part is not None and part.encoded is not None}


def with_scans(source: Source, scans: Mapping[str, ImageScan]) -> Source:
    parts = {name: replace(part, scan=scans[name]) for name, part in encoded_parts(source).items()}
    return replace(
        source,
        train=parts.get("training", source.train),
        validation=parts.get("validation", source.validation),
        test=parts.get("test", source.test),
        unlabelled=parts.get("unlabelled", source.unlabelled),
    )


def scan_part(name: str, images: EncodedImages, root: Path, notify: LoadProgress) -> ImageScan:
    if not len(images):
        return ImageScan(np.zeros((0, 32), dtype=np.uint8), np.zeros(0, dtype=np.uint8))
    place = hashlib.sha256(os.fsencode(images.path(0).parent)).hexdigest()[:16]
    kept = ground(root) / ".encoded" / f"{name}-{place}.scan"
    with alone(kept):  # of the workers of a trial one reads all, and the others what it kept
        return scan_images(images, kept=kept, notify=partial(notify, SCANNING.format(name)))


def sentence_about(
    parts: Mapping[str, SourceSplit], scans: Mapping[str, ImageScan], flawed: Mapping[str, np.ndarray]
) -> str:
    name = next(name for name, rows in flawed.items() if len(rows))
    row, count = int(flawed[name][0]), sum(map(len, flawed.values()))
    others = f", and {count - 1:,} other image{'s have' if count > 2 else ' has'} such faults" * (count > 1)
    return (
        f"{call_image(parts[name], row)} {FLAWS[scans[name].flaws[row]]}{others}; replace or remove "
        f'{"them" if count > 1 else "it"}, or set data.on_error = "skip" to leave such images out'
    )


def call_image(part: SourceSplit, row: int) -> str:
    assert part.encoded is not None
    return part.named(row) if part.named else part.encoded.called(row)


def leave_out(
    source: Source, images: Mapping[str, EncodedImages], scans: Mapping[str, ImageScan], root: Path, max_value: float
) -> tuple[Source, dict[str, ImageScan]]:
    """`source` without its flawed images, and the scans of the others."""
    found = encoded_parts(source)
    kept = {name: np.flatnonzero(scan.flaws == 0) for name, scan in scans.items()}
    left = {name: images[name].take(rows) for name, rows in kept.items()}
    others = {name: scans[name].take(rows) for name, rows in kept.items()}
    if not len(left["training"]):
        raise DataError(f"no image to train on can be read, the first is {images['training'].called(0)}; replace them")
    first = cut_out(left["training"], 0, 1)
    parts = {
        name: replace(
            encoded_part(one, first, root, max_value),
            scan=others[name],
            labels=found[name].labels[torch.from_numpy(kept[name])],
        )
        for name, one in left.items()
    }
    gone = [call_image(found[name], int(row)) for name, scan in scans.items() for row in np.flatnonzero(scan.flaws)]
    named = ", ".join(gone[:NAMED]) + (f" and {len(gone) - NAMED:,} more" if len(gone) > NAMED else "")
    judge = source.judge
    return (
        replace(
            source,
            train=parts["training"],
            validation=parts.get("validation", source.validation),
            test=parts.get("test", source.test),
            unlabelled=parts.get("unlabelled", source.unlabelled),
            passed_over={**source.passed_over, "images that cannot be read": len(gone)},
            note="; ".join(filter(None, [source.note, f"left out as they cannot be read: {named}"])),
            judge=None
            if judge is None
            else lambda split: judge(
                replace(split, index=split.index.new_tensor(kept["training"][split.index.numpy()]))
            ),
        ),
        others,
    )
