"""Encoded images with labels as a set: what names it, its classes, and what two of them share.

Images are known by the SHA-256 of their bytes, and no pixel is looked at. So all of this is equal for the same files in
a folder, in tar shards, in Parquet and in an unreduced pack.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from automl_kd.data.encoded.ranges import NumberArray

MARK_TYPE = np.dtype([("digest", "V32"), ("label", "<i8")])


def label_marks(labels: NumberArray) -> NumberArray:
    """int64 (n,): numbers of classes as they are; of labels (n, outputs) a hash of each row, 0 or more."""
    if labels.ndim == 1:
        return labels
    hashes = b"".join(hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in np.ascontiguousarray(labels))
    return (np.frombuffer(hashes, dtype="<u8") >> np.uint64(1)).astype(np.int64)


def sorted_marks(digests: NumberArray, labels: NumberArray) -> NumberArray:
    """(n,) of `MARK_TYPE`, for uint8 (n, 32) and labels of any task, in the order of `digest_order`."""
    found = np.empty(len(labels), dtype=MARK_TYPE)
    found["digest"], found["label"] = np.ascontiguousarray(digests).view("V32").ravel(), label_marks(labels)
    return found[digest_order(digests, labels)]


def digest_order(digests: NumberArray, labels: NumberArray) -> NumberArray:
    """Rows in the order of digests, uint8 (n, 32), and of labels where two images are the same."""
    words = np.ascontiguousarray(digests).view(">u8").reshape(-1, 4)
    return np.lexsort((label_marks(labels), *(words[:, place] for place in (3, 2, 1, 0))))


def identity_of_marks(described: str, marked: Mapping[str, NumberArray]) -> str:
    """Sixteen hex digits of a description, and of the marks of each part."""
    whole = hashlib.blake2b(described.encode(), digest_size=8)
    for name, marks in marked.items():
        whole.update(f"{name} {len(marks)} ".encode())
        whole.update(marks.tobytes())
    return whole.hexdigest()


def class_digests(marks: NumberArray, classes: int) -> list[str]:
    """Eight hex digits of the images of each class."""
    return [short_digest(marks[marks["label"] == label]) for label in range(classes)]


def short_digest(marks: NumberArray) -> str:
    return hashlib.blake2b(marks["digest"].tobytes(), digest_size=4).hexdigest()


def count_shared(earlier: NumberArray, later: NumberArray, unlabelled: int) -> tuple[int, int]:
    """How many images of `later` are in `earlier` too, and how many of these under other labels only.

    `unlabelled`: in place of a label, of images that have none and so no other.
    """
    keys = [np.ascontiguousarray(one["digest"]).view(">u8").reshape(-1, 4)[:, 0] for one in (earlier, later)]
    shared = np.isin(keys[1], keys[0])
    labels: dict[bytes, set[int]] = {}
    for one in earlier[np.isin(keys[0], keys[1])]:
        labels.setdefault(one["digest"].tobytes(), set()).add(int(one["label"]))
    found = [(labels[one["digest"].tobytes()], int(one["label"])) for one in later[shared]]
    differ = sum(own not in others and unlabelled not in others | {own} for others, own in found)
    return len(found), differ
