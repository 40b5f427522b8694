"""An account of an experiment's images at its start, kept beside its results: for its page, and to detect changes.

An account has plain values: `digest`, `line` (a sentence), `size` of an image, `classes` (names), and of each split the
`images` and `marks` of each class, where equal marks mean equal images; likewise of images without labels. With it is
kept under which name of the set the experiment's rows stand, `known_as`: the set may lie elsewhere later.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from automl_kd import files, storage

DATA_FILE = "data.json"
MAX_NAMED = 3
"""At most this many changes are named."""


def write_account(folder: Path, account: Mapping[str, Any], known_as: str) -> None:
    storage.write(folder / DATA_FILE, json.dumps({**account, "known_as": known_as}))


def read_account(folder: Path) -> dict[str, Any]:
    """Empty where none was kept, as in the folders of earlier versions, or it is damaged."""
    try:
        found = files.read_json(folder / DATA_FILE)
    except OSError:
        return {}
    return found if isinstance(found, dict) else {}


def line_of(folder: Path) -> str:
    """The account in one sentence, empty where there is none."""
    return str(read_account(folder).get("line", ""))


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Describe in words how the images have changed, as far as the accounts show."""
    try:
        found = list(describe_differences(old, new))
    except (KeyError, TypeError, ValueError, IndexError):  # no account, or a damaged one
        found = []
    if not found:
        return "images or labels are others, or this version reads them otherwise, which of them is not on record"
    more = f" and {len(found) - MAX_NAMED} more changes" if len(found) > MAX_NAMED else ""
    return "; ".join(found[:MAX_NAMED]) + more


def describe_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in old["classes"]:
        if name not in new["classes"]:
            yield f"class {name!r} is gone"
    for name in new["classes"]:
        if name not in old["classes"]:
            yield f"class {name!r} is new"
    if old["size"] != new["size"]:
        yield f"images were {old['size']} and are {new['size']}"
    yield from describe_unlabelled(old, new)
    for split in new["splits"]:
        before, now = by_class(old, split), by_class(new, split)
        for name in [one for one in before if one in now]:
            (count, mark), (count_now, mark_now) = before[name], now[name]
            if count != count_now:
                yield f"class {name!r} had {count:,} {split} images and has {count_now:,}"
            elif mark != mark_now and old["size"] == new["size"]:
                yield f"some of the {count:,} {split} images of class {name!r} are others"


def describe_unlabelled(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    (count, mark), (count_now, mark_now) = unlabelled_in(old), unlabelled_in(new)
    if count != count_now:
        yield f"there were {count:,} unlabelled images and are {count_now:,}"
    elif mark != mark_now and old["size"] == new["size"]:
        yield f"some of the {count:,} unlabelled images are others"


def unlabelled_in(account: Mapping[str, Any]) -> tuple[int, str]:
    one = account.get("unlabelled", {"images": 0, "mark": ""})
    return one["images"], one["mark"]


def by_class(account: Mapping[str, Any], split: str) -> dict[str, tuple[int, str]]:
    one = account["splits"][split]
    return dict(zip(account["classes"], zip(one["images"], one["marks"], strict=True), strict=True))
