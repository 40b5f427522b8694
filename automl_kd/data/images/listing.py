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
    """Paths of image files in their order, and how many others there are, by suffix or in words.

    `folders`: those that were listed.
    """

    files: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    folders: list[Path] = field(default_factory=list)


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
        walk(top, found, folders_above(top) if top.is_symlink() else set())
    # Part by part, as paths compare: no character is smaller than NUL, and no name holds it.
    found.files.sort(key=None if len(found.folders) == 1 else lambda file: file.replace(os.sep, "\0"))
    return found


def folders_above(top: Path) -> set[Identity]:
    """Those that hold `top`: a link to one of them would bring in the images of other classes."""
    return {folder_identity(one) for one in {*top.resolve().parents, *(top.parent.resolve() / "_").parents}}


def walk(top: Path, found: Listing, entered: set[Identity]) -> None:
    waiting = [(top, "")]
    while waiting:
        folder, aside = waiting.pop()
        if (known := folder_identity(folder)) in entered:
            continue
        entered.add(known)
        found.folders.append(folder)
        below = []
        for one in scan_folder(folder):
            name = one.name
            if name[name.rfind(".") :].lower() in SUFFIXES and not aside and name[0] != "." and is_file(one):
                found.files.append(one.path)
            elif is_folder(one):
                below.append(one)
            elif aside:
                found.passed_over[aside] += 1
            else:
                pass_over(one, found)
        if any(one.is_symlink() for one in below):
            entered |= folders_above(top)
        below.sort(key=lambda entry: entry.name)
        waiting.extend((Path(one.path), aside or reason_aside(one.name)) for one in below)


def pass_over(entry: os.DirEntry[str], found: Listing) -> None:
    if entry.name[0] == ".":
        found.passed_over["hidden files"] += 1
    elif not is_file(entry):
        found.passed_over["links to nothing" if not Path(entry).exists() else "devices, pipes and the like"] += 1
    else:
        found.passed_over[suffix_of(entry.name)] += 1


def list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """In order of their names."""
    return sorted(scan_folder(folder), key=lambda one: one.name)


def scan_folder(folder: Path) -> list[os.DirEntry[str]]:
    with name_listing_errors(folder), os.scandir(folder) as entries:
        return list(entries)


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
    stem, _, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if stem and suffix else "without suffix"


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
