"""What a set holds, as far as a reader of results wants to know: images of each class and split, what each split was
made from, images that are in two splits, what was passed over. And by what it is known: its digest, and marks of the
images of each class, by which later changes are detected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from automl_kd.data.dataset import DIGEST_CHUNK, Dataset, Split, as_size, digest_dataset
from automl_kd.data.encoded.marks import class_digests, count_shared, short_digest
from automl_kd.data.kept import recall
from automl_kd.data.source import counted
from automl_kd.tasks import UNLABELLED

LOOK = 16384
"""Bytes from the middle of an image by which it is compared with others."""

Account = Mapping[str, Any]
"""Plain values. `digest`; `line`, a sentence for people; `size` of an image; `classes`, their names; `splits`, for
each "images" and "marks" of each class; `unlabelled`, where there are such, their "images" and "mark"; `shared`,
[split, earlier split, images, of these under another label]."""


def account_of(dataset: Dataset, root: Path) -> Account:
    """Of the set on the CPU. What takes long is kept below `root` with the measures of the set."""
    measured = recall(root, dataset.stamp, "account", lambda: measure_dataset(dataset))
    names = group_names(dataset)
    splits = {
        name: {
            "images": torch.bincount(groups_of(dataset, split), minlength=len(names)).tolist(),
            "marks": measured["marks"][name],
        }
        for name, split in dataset.splits.items()
    }
    account = {
        "name": dataset.name,
        "digest": measured["digest"],
        "size": size_of_inputs(dataset),
        "classes": [printable(name) for name in names],
        "splits": splits,
        "shared": measured["shared"],
    }
    if (unlabelled := dataset.unlabelled) is not None:
        account["unlabelled"] = {"images": len(unlabelled), "mark": measured["unlabelled"]}
    return {**account, "line": line(dataset, account)}


def group_names(dataset: Dataset) -> tuple[str, ...]:
    """The classes; of another task all inputs are one group."""
    return dataset.class_names if dataset.task.labels_are_classes else (f"all {dataset.train.noun}",)


def groups_of(dataset: Dataset, split: Split) -> Tensor:
    labels = split.labels
    return labels if dataset.task.labels_are_classes else torch.zeros(len(labels), dtype=torch.int64)


def size_of_inputs(dataset: Dataset) -> str:
    """Of an image its sides; of texts how many tokens they have."""
    lengths = dataset.train.lengths
    if lengths is None:
        return as_size(dataset.train.inputs)
    return f"{int(lengths.min())} to {int(lengths.max())} tokens, {lengths.double().mean():.1f} on average"


def measure_dataset(dataset: Dataset) -> dict[str, Any]:
    parts = dataset.parts
    if dataset.train.streamed is not None:
        return measure_streamed(dataset)
    marks = {name: marks_of(split) for name, split in parts.items()}
    classes = len(group_names(dataset))
    measured = {
        "digest": digest_dataset(dataset),
        "marks": {
            name: class_marks(marks[name], groups_of(dataset, split), classes) for name, split in dataset.splits.items()
        },
        "shared": [
            [later, earlier, *shared(parts[earlier], marks[earlier], parts[later], marks[later])]
            for earlier, later in combinations(parts, 2)
        ],
    }
    if "unlabelled" in marks:
        measured["unlabelled"] = combined(marks["unlabelled"])
    return measured


def measure_streamed(dataset: Dataset) -> dict[str, Any]:
    """The same by the bytes of files."""
    marks = dataset.marks
    measured: dict[str, Any] = {
        "digest": digest_dataset(dataset),
        "marks": {name: class_digests(marks[name], len(dataset.class_names)) for name in dataset.splits},
        "shared": [
            [later, earlier, *count_shared(marks[earlier], marks[later], UNLABELLED)]
            for earlier, later in combinations(marks, 2)
        ],
    }
    if "unlabelled" in marks:
        measured["unlabelled"] = short_digest(marks["unlabelled"])
    return measured


def marks_of(split: Split) -> list[bytes]:
    """Eight bytes for each image, by its middle `LOOK` bytes: in many thousand images two are equal if these are."""
    flat = split.inputs.flatten(1)
    begin = max(0, (flat.shape[1] - LOOK) // 2)
    if split.lengths is not None:  # padding differs between splits
        rows = zip(flat.cpu().numpy(), split.lengths.tolist(), strict=True)
        return [hashlib.blake2b(row[:length].tobytes(), digest_size=8).digest() for row, length in rows]
    return [
        hashlib.blake2b(row.tobytes(), digest_size=8).digest()
        for piece in torch.split(flat, DIGEST_CHUNK)
        for row in piece[:, begin : begin + LOOK].cpu().numpy()
    ]


def class_marks(marks: list[bytes], groups: Tensor, classes: int) -> list[str]:
    """Of the images of each class, in any order."""
    of: list[list[bytes]] = [[] for _ in range(classes)]
    for label, mark in zip(groups.tolist(), marks, strict=True):
        of[label].append(mark)
    return [combined(one) for one in of]


def combined(marks: list[bytes]) -> str:
    """Of images in any order."""
    return hashlib.blake2b(b"".join(sorted(marks)), digest_size=4).hexdigest()


def shared(earlier: Split, marks: list[bytes], later: Split, others: list[bytes]) -> tuple[int, int]:
    """How many images of `later` are in `earlier` too, and how many of these under other labels only, if labelled."""
    places: dict[bytes, list[int]] = {}
    for row, mark in enumerate(marks):
        places.setdefault(mark, []).append(row)
    found = differ = 0
    for row, mark in enumerate(others):
        twins = [one for one in places.get(mark, ()) if are_equal(earlier, one, later, row)]
        found += bool(twins)
        if later.labels.ndim > 1:
            continue
        labels, own = {int(earlier.labels[one]) for one in twins}, int(later.labels[row])
        differ += bool(twins) and UNLABELLED not in labels | {own} and own not in labels
    return found, differ


def are_equal(earlier: Split, one: int, later: Split, row: int) -> bool:
    """Of texts without their padding, which differs between splits."""
    if earlier.lengths is None or later.lengths is None:
        return torch.equal(earlier.inputs[one], later.inputs[row])
    size = int(later.lengths[row])
    return int(earlier.lengths[one]) == size and torch.equal(earlier.inputs[one, :size], later.inputs[row, :size])


def line(dataset: Dataset, account: Account) -> str:
    """The account in one sentence."""
    counts = {name: sum(one["images"]) for name, one in account["splits"].items()}
    if "unlabelled" in account:
        counts = {"training": 0, "unlabelled": account["unlabelled"]["images"], **counts}
    parts = [
        f"{count:,} {name}" + (f" ({made})" if (made := dataset.made.get(name)) else "")
        for name, count in counts.items()
    ]
    classes, training = account["classes"], account["splits"]["training"]["images"]
    least = min(training)
    noun = dataset.train.noun
    kinds = f"{len(classes)} classes" if dataset.task.labels_are_classes else f"{len(dataset.class_names)} outputs"
    phrases = [
        f"{kinds}, {', '.join(parts)} {noun} of {account['size']}",
        f"smallest class '{classes[training.index(least)]}' with {least:,} training {noun}" * (len(classes) > 1),
        *[
            lacking(f"{name} {noun[:-1]}", one["images"], classes)
            for name, one in account["splits"].items()
            if not all(one["images"])
        ],
        *[
            in_two(later, earlier, found, differ, counts[later], noun)
            for later, earlier, found, differ in account["shared"]
        ],
        *([f"passed over: {counted(dataset.passed_over)}"] if dataset.passed_over else []),
        *([dataset.note] if dataset.note else []),
        f"what is called accuracy is {dataset.task.metric}" * (dataset.task.metric != "accuracy"),
    ]
    return printable(f"data {dataset.name}: {'; '.join(filter(None, phrases))}")


def lacking(what: str, images: list[int], classes: list[str]) -> str:
    names = [f"'{name}'" for name, count in zip(classes, images, strict=True) if not count]
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"no {what} of {'class' if len(names) == 1 else 'the classes'} {some}"


def in_two(later: str, earlier: str, found: int, differ: int, count: int, noun: str) -> str:
    if not found:
        return ""
    other = f", {differ:,} of them of another class" if differ else ""
    return f"{found:,} of {count:,} {later} {noun} are {earlier} {noun} too{other}"


def printable(text: str) -> str:
    """Names of files need not be text in any encoding."""
    return text.encode("utf-8", "backslashreplace").decode()
