"""SHA-256 of encoded images, and what is wrong with them as far as their bytes show it without being decoded.

Both are found in one pass over the bytes, in threads, and kept by each file's path, size and times, so that only files
that changed are read again.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from automl_kd import files
from automl_kd.data.encoded.marks import label_marks
from automl_kd.data.encoded.ranges import EncodedImages, NumberArray
from automl_kd.errors import DataError

FLAWS = (
    "",
    "is empty",
    "is no image that Pillow knows",
    "ends before its last byte",
    "has more pixels than Pillow opens",
    "cannot be read or decoded",
)
"""What may be wrong with an image; the first is nothing."""

EMPTY, UNKNOWN, CUT_OFF, TOO_LARGE, UNREADABLE = range(1, len(FLAWS))

ScanProgress = Callable[[int, int], None]
"""Called with how many images are done, and of how many."""

SCAN_RECORD = np.dtype([("key", "<u8", 2), ("digest", "u1", 32), ("flaw", "u1")])

SCAN_THREADS = min(8, 2 * (os.cpu_count() or 1))
SCAN_CHUNK = 256
KEPT_EVERY_SECONDS = 60.0

FOLDS = np.array([[0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], [0x165667B19E3779F9, 0xD6E8FEB86659FD93]], dtype=np.uint64)
"""Odd numbers by which places in a file are spread over 64 bits, twice."""


class ImageScan(NamedTuple):
    """Of each image: `digests`, SHA-256 of its encoded bytes, uint8 (n, 32); `flaws`, uint8 (n,), places in `FLAWS`."""

    digests: NumberArray
    flaws: NumberArray

    def take(self, rows: NumberArray | slice) -> ImageScan:
        return ImageScan(self.digests[rows], self.flaws[rows])


def scan_images(
    images: EncodedImages, *, kept: Path | None = None, notify: ScanProgress = lambda _done, _of: None
) -> ImageScan:
    """Read all images whose scan is not in the file `kept` yet, and keep it there; None keeps nothing.

    A file that cannot be read is a flaw of its images too.
    """
    found = np.zeros(len(images), dtype=SCAN_RECORD)
    with ThreadPoolExecutor(SCAN_THREADS) as pool:
        found["key"] = image_keys(images, pool)
        missing = np.flatnonzero(fill_in(found, kept) == 0)
        chunks = np.split(missing, range(SCAN_CHUNK, len(missing), SCAN_CHUNK))
        done, saved = len(images) - len(missing), time.monotonic()
        for rows, scanned in zip(chunks, pool.map(lambda rows: scan_rows(images, rows), chunks), strict=True):
            found["digest"][rows], found["flaw"][rows] = scanned
            done += len(rows)
            notify(done, len(images))
            if kept is not None and time.monotonic() > saved + KEPT_EVERY_SECONDS:
                keep_scan(kept, found)
                saved = time.monotonic()
    if kept is not None and len(missing):
        keep_scan(kept, found)
    return ImageScan(found["digest"], found["flaw"])


def scan_rows(images: EncodedImages, rows: NumberArray) -> ImageScan:
    digests, flaws = np.zeros((len(rows), 32), dtype=np.uint8), np.zeros(len(rows), dtype=np.uint8)
    for place, row in enumerate(rows.tolist()):
        try:
            content = images.read(row)
        except (DataError, OSError):
            flaws[place] = UNREADABLE
        else:
            digests[place], flaws[place] = sha256_of(content), find_flaw(content)
    return ImageScan(digests, flaws)


def sha256_of(content: bytes) -> NumberArray:
    """Its SHA-256, uint8 (32,)."""
    return np.frombuffer(hashlib.sha256(content).digest(), dtype=np.uint8)


def fill_in(found: NumberArray, kept: Path | None) -> NumberArray:
    """Copy what is kept of images with the same keys; which images these are, bool (n,)."""
    known: NumberArray = np.zeros(len(found), dtype=bool)
    if kept is None:
        return known
    try:
        old = np.load(kept)
    except (OSError, ValueError, EOFError):
        return known
    if old.dtype != SCAN_RECORD or not len(old):
        return known
    old = old[np.argsort(old["key"][:, 0], kind="stable")]
    places: NumberArray = np.asarray(np.searchsorted(old["key"][:, 0], found["key"][:, 0])).clip(max=len(old) - 1)
    differ = (old["key"][places] != found["key"]).sum(axis=1)
    known[(differ == 0) & ((found["key"] != 0).sum(axis=1) > 0)] = True
    found[known] = old[places[known]]
    return known


def keep_scan(kept: Path, found: NumberArray) -> None:
    """Of all images that were read and could be."""
    whole = found[(found["flaw"] != UNREADABLE) & (found["digest"].any(axis=1))]
    with suppress(OSError), files.replacing(kept) as scratch, scratch.open("wb") as file:
        np.save(file, whole)


def image_keys(images: EncodedImages, pool: ThreadPoolExecutor) -> NumberArray:
    """uint64 (n, 2): of each image's file, as it is now, and its place there; zeros where there is no such file."""
    _, firsts, places = np.unique(images.file, return_index=True, return_inverse=True)
    chunks = np.split(firsts, range(SCAN_CHUNK, len(firsts), SCAN_CHUNK))
    stamps = np.concatenate([*pool.map(lambda rows: file_stamps(images, rows), chunks)])
    keys = stamps[places]
    gone = (keys != 0).sum(axis=1) == 0
    for column, (first, second) in enumerate(FOLDS):
        keys[:, column] ^= images.offset.astype(np.uint64) * first + images.length.astype(np.uint64) * second
    keys[gone] = 0
    return keys


def file_stamps(images: EncodedImages, rows: NumberArray) -> NumberArray:
    found = np.zeros((len(rows), 2), dtype=np.uint64)
    for place, row in enumerate(rows.tolist()):
        path = images.path(row)
        with suppress(OSError):
            status = path.stat()
            text = f"\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}".encode()
            stamp = hashlib.blake2b(os.fsencode(path) + text, digest_size=16).digest()
            found[place] = np.frombuffer(stamp, dtype=np.uint64)
    return found


def find_flaw(content: bytes) -> int:
    """A place in `FLAWS`. Headers are read, and the end is looked for; nothing is decoded."""
    if not content:
        return EMPTY
    try:
        Image.open(io.BytesIO(content)).close()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return TOO_LARGE
    except Exception:  # Pillow's readers raise whatever damaged bytes lead them to
        return CUT_OFF if is_cut_off(content) else UNKNOWN
    return CUT_OFF if is_cut_off(content) else 0


def is_cut_off(content: bytes) -> bool:
    """Whether the end that a JPEG, PNG or WebP has is missing."""
    if content.startswith(b"\xff\xd8\xff"):
        return content.find(b"\xff\xd9", scan_begin(content)) < 0
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND\xaeB`\x82" not in content
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return int.from_bytes(content[4:8], "little") + 8 > len(content)
    return False


def scan_begin(content: bytes) -> int:
    """Where the first scan of a JPEG begins: an end marker before it is that of a thumbnail."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != 0xDA:
        # Fill bytes and markers without content stand alone.
        alone = content[at + 1] == 0xFF or content[at + 1] in range(0xD0, 0xD9)
        at += 1 + (content[at + 1] != 0xFF) if alone else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return at


def identity(parts: Mapping[str, tuple[NumberArray, NumberArray]]) -> str:
    """Sixteen hex digits of the labels, and digests, uint8 (n, 32), of each part, in any order of images.

    Equal for the same images in a folder, shards, Parquet files and a pack that is not reduced.
    """
    whole = hashlib.sha256()
    for name in sorted(parts):
        labels, digests = parts[name]
        rows = np.concatenate(
            [label_marks(np.asarray(labels)).astype(">i8").view(np.uint8).reshape(-1, 8), digests], axis=1
        )
        ordered = np.sort(np.ascontiguousarray(rows).view("S40").ravel())
        whole.update(f"{name} {len(ordered)}\n".encode())
        whole.update(np.ascontiguousarray(ordered).view(np.uint8).tobytes())
    return whole.hexdigest()[:16]
