"""How a folder of images is laid out: which of its subfolders are splits, which are classes, and where they begin.

Splits are `train`, `val` and `test`, in any case and in the spellings of `SPELLINGS`. A folder around everything, or
around the classes of a split, is looked into.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from automl_kd.data.images.listing import has_images, subfolders
from automl_kd.errors import DataError

Kind = Literal["training", "validation", "test"]
SPELLINGS: Mapping[str, Kind] = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
LIKE_A_SPLIT = re.compile(r"(?:^|[^a-z])(train|val|test)(?:ing|id|idation)?(?:set|data|images|imgs|[^a-z]|$)")
"""Of a name in small letters."""


@dataclass(frozen=True)
class FolderLayout:
    """`tops`: for each split that there is, the folder whose subfolders are classes; training is always there.

    `path`: where the splits were found. `beside`: names of other folders there, which were passed over.
    """

    path: Path
    tops: Mapping[Kind, Path]
    beside: tuple[str, ...] = ()


def find_layout(path: Path, *, deep: int = 3) -> FolderLayout:
    """`DataError` where splits and classes are ambiguous, or there is a split but none to train on.

    `deep`: how many folders around everything are looked into.
    """
    names = subfolders(path)
    splits = {name: SPELLINGS[name.casefold()] for name in names if name.casefold() in SPELLINGS}
    nested = {name: kind for name, kind in splits.items() if not has_images(path / name)}
    if not nested:
        if deep and (top := unwrap_folder(path, names)) != path:
            return find_layout(top, deep=deep - 1)
        refuse_splits_as_classes(path, names)
        return FolderLayout(path, {"training": path})
    if flat := [name for name in splits if name not in nested]:
        raise DataError(
            f"{path / flat[0]} holds images and {path / min(nested)} does not; put the images of each class into a "
            f"subfolder of {flat[0]}/, or move it elsewhere"
        )
    return FolderLayout(path, by_kind(path, nested), beside=tuple(name for name in names if name not in nested))


def by_kind(path: Path, nested: Mapping[str, Kind]) -> dict[Kind, Path]:
    kinds = list(nested.values())
    if twice := next((kind for kind in kinds if kinds.count(kind) > 1), None):
        both = " and ".join(f"{name}/" for name in nested if nested[name] == twice)
        raise DataError(f"{path} has {both}, two folders of {twice} images; make one of them")
    if "training" not in kinds:
        raise DataError(f"{path} has {min(nested)}/ but no train/; add one, or give the path of the class folders")
    folders: dict[Kind, Path] = {kind: path / name for name, kind in nested.items()}
    training = folders.pop("training")
    top = unwrap_folder(training, subfolders(training))
    others = {kind: likewise(folder, subfolders(top)) for kind, folder in folders.items()}
    return {"training": top, **others}


def likewise(folder: Path, classes: Iterable[str]) -> Path:
    """The folder with the classes of a split; one that is called as a class of training is no wrapping."""
    names = subfolders(folder)
    return folder if set(names) & set(classes) else unwrap_folder(folder, names)


def unwrap_folder(path: Path, names: list[str]) -> Path:
    """The only folder in `path`, if there is nothing else in it and that one holds folders; else `path`."""
    if len(names) != 1 or has_images(path):
        return path
    inner = path / names[0]
    return inner if subfolders(inner) and not has_images(inner) else path


def refuse_splits_as_classes(path: Path, names: list[str]) -> None:
    """Refuse classes of which half or more look like splits, and like different ones."""
    found = {name: match[1] for name in names if (match := LIKE_A_SPLIT.search(name.casefold()))}
    if len(set(found.values())) > 1 and 2 * len(found) >= len(names):
        first, second = sorted(found)[:2]
        raise DataError(
            f"the folders {first}/ and {second}/ in {path} look like splits and not like classes; call them train/, "
            "val/ and test/, each with a subfolder for each class"
        )
