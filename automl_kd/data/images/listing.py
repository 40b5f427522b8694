"""What lies in a folder of images: subfolders, image files, and how much of what else was passed over.

Links are followed, each real folder is entered once, and no link leads back out of where it began. Passed over are
names that begin with a dot, folders that systems and galleries put beside images, whatever is no regular file, and
files with other suffixes than `SUFFIXES`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from automl_kd.errors import DataError

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".ppm", ".pgm", ".pnm", ".tif", ".tiff", ".webp"}
)
ASIDE = frozenset({"__macosx", "@eadir", "thumbnails", "$recycle.bin", "lost+found"})
"""Folders, in lower case, that hold no images of their own."""

HIDDEN, THUMBNAILS = "in hidden folders", "in folders of thumbnails and of systems"

Identity = tuple[int, int]
"""Device and inode of a folder."""


@dataclass
class Listing:
    """Image files in the order of their paths, and how many others there are, by suffix or in words."""

    files: list[Path] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)


def subfolders(top: Path) -> list[str]:
    """Names of the folders in `top`, in order, without hidden ones and those of systems."""
    return sorted(one.name for one in list_folder(top) if is_folder(one) and not is_aside(one.name))


def loose(top: Path) -> Counter[str]:
    """What lies in `top` itself beside its folders, by suffix or in words, hidden files not counted."""
    return Counter(suffix_of(one.name) for one in list_folder(top) if not is_folder(one) and one.name[0] != ".")


def has_images(top: Path) -> bool:
    """Whether image files lie in `top` itself."""
    return any(suffix in SUFFIXES for suffix in loose(top))


def is_aside(name: str) -> bool:
    return name[0] == "." or name.casefold() in ASIDE


def images_below(top: Path) -> Listing:
    """All image files in `top` and the folders below it."""
    found = Listing()
    with name_listing_errors(top):
        # A link to a folder that holds `top` would bring in the images of other classes.
        above = {*top.resolve().parents, *(top.parent.resolve() / "_").parents}
        walk(top, found, {folder_identity(one) for one in above})
    found.files.sort()
    return found


def walk(top: Path, found: Listing, entered: set[Identity]) -> None:
    waiting = [(top, "")]
    while waiting:
        folder, aside = waiting.pop()
        if (known := folder_identity(folder)) in entered:
            continue
        entered.add(known)
        for one in list_folder(folder):
            if is_folder(one):
                waiting.append((Path(one.path), aside or reason_aside(one.name)))
            elif aside:
                found.passed_over[aside] += 1
            else:
                take_listing(one, found)


def take_listing(entry: os.DirEntry[str], found: Listing) -> None:
    if entry.name[0] == ".":
        found.passed_over["hidden files"] += 1
    elif not is_file(entry):
        found.passed_over["links to nothing" if not Path(entry).exists() else "devices, pipes and the like"] += 1
    elif (suffix := suffix_of(entry.name)) in SUFFIXES:
        found.files.append(Path(entry.path))
    else:
        found.passed_over[suffix] += 1


def list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """In order of their names."""
    with name_listing_errors(folder), os.scandir(folder) as entries:
        return sorted(entries, key=lambda one: one.name)


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # likewise
        return False


def reason_aside(name: str) -> str:
    if name[0] == ".":
        return HIDDEN
    return THUMBNAILS if name.casefold() in ASIDE else ""


def suffix_of(name: str) -> str:
    return Path(name).suffix.lower() or "without suffix"


def folder_identity(folder: Path) -> Identity:
    status = folder.stat()
    return status.st_dev, status.st_ino


@contextmanager
def name_listing_errors(top: Path) -> Iterator[None]:
    """What a file system refuses while `top` is listed, as a `DataError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename or top} went away while {top} was listed; run it again when nobody changes the images"
        ) from error
    except OSError as error:
        raise DataError(
            f"{error.filename or top} cannot be listed ({error.strerror}); correct that or name another folder"
        ) from error
