"""Writing of a pack: encoded images one after the other in one file, which a kill leaves ready to be continued.

A pack is a folder with `images.bin`, the bytes; `images.index`, where each image lies; `scan.npy`, SHA-256 and flaw of
each; and at last `pack.json`, by which it is known to be whole. Until then `unfinished.json` says what is being packed,
and `written.bin` has a record of each image whose bytes are on the disk.
"""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from automl_kd import files
from automl_kd.data.encoded.encoded_set import EncodedSet
from automl_kd.data.encoded.index_file import save_index
from automl_kd.data.encoded.ranges import EncodedImages, NumberArray
from automl_kd.data.encoded.scan import FLAWS, UNREADABLE, ImageScan, ScanProgress, find_flaw, identity, sha256_of
from automl_kd.data.images.layout import Kind
from automl_kd.errors import DataError, FileError

PACK_VERSION = 1
PACK_FILE, BYTES_FILE, PACK_INDEX, SCAN_FILE = "pack.json", "images.bin", "images.index", "scan.npy"
UNFINISHED, WRITTEN = "unfinished.json", "written.bin"

SCANNED = [("digest", "u1", 32), ("flaw", "u1")]
PACK_RECORD = np.dtype([("label", "<i8"), ("length", "<i8"), *SCANNED])

FLUSH_BYTES, FLUSH_IMAGES, FLUSH_SECONDS = 64 * 2**20, 10_000, 5.0
"""So much is written before it is put on the disk: what a kill may cost."""

PackedImage = tuple[bytes | None, int, str]
"""Encoded bytes, None where they cannot be read or made; label; what errors call it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PackPlan:
    """What is to be packed.

    `read(first)`: the images from the one at `first` on, in their order, which is by part. `stamp`: of the files they
    come from, and of how they are changed. `needed`: their bytes, 0 where these are not known. `on_error`: "fail" ends
    the packing at a flawed image, "skip" leaves it out, "keep" packs it as it is. `class_names`: empty for numbers.
    `about`: what `pack.json` says besides.
    """

    read: Callable[[int], Iterator[PackedImage]]
    counts: Mapping[Kind, int]
    stamp: str
    needed: int = 0
    on_error: str = "keep"
    class_names: tuple[str, ...] = ()
    made: Mapping[str, str] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


def write_pack(out: Path, plan: PackPlan, notify: ScanProgress = lambda _done, _of: None) -> None:
    """Make `out` a pack, or continue with one that was begun for the same files; a finished one of them stays.

    `DataError` if `out` holds anything else, another process packs into it, or the images do not fit on its disk.
    """
    require_pack_place(out, plan)
    if (out / PACK_FILE).exists():
        return
    files.write(out / UNFINISHED, json.dumps({"version": PACK_VERSION, "stamp": plan.stamp}))
    with open_for_update(out / WRITTEN) as written:
        if not have_alone(out, written):
            raise DataError(f"another process is packing into {out}; wait for it, or choose another folder")
        if (out / PACK_FILE).exists():  # that process has just finished
            remove_traces(out)
            return
        try:
            records = append_images(out, written, plan, notify)
        except DataError:
            if not (out / WRITTEN).stat().st_size:  # nothing is lost, and the same path can be used again
                (out / BYTES_FILE).unlink()
                remove_traces(out)
                with suppress(OSError):  # it may be a mount
                    out.rmdir()
            raise
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise DataError(f"the disk of {out} is full; make room, and the same command continues the pack") from error
        finish_pack(out, plan, records)


def have_alone(out: Path, file: IO[bytes]) -> bool:
    try:
        return files.try_lock(file)
    except OSError as error:
        raise DataError(
            f"{out} lies on a file system without locks ({error.strerror}); choose a folder on another"
        ) from error


def require_pack_place(out: Path, plan: PackPlan) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; give the path of a new folder")
    there = {one.name for one in out.iterdir()} if out.is_dir() else set()
    known = read_described(out / (PACK_FILE if PACK_FILE in there else UNFINISHED))
    if there and (known is None or known.get("stamp") != plan.stamp):
        what = "is a pack of other or changed files, or made with other options"
        if known is None:
            damaged = {PACK_FILE, UNFINISHED} & there
            what = f"is a pack whose {min(damaged)} is damaged" if damaged else "holds something else than a pack"
        raise DataError(f"{out} {what}; give the path of a new folder, or remove it")
    done = (out / BYTES_FILE).stat().st_size if BYTES_FILE in there else 0
    nearest = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    if PACK_FILE not in there and plan.needed - done > free:
        raise DataError(
            f"packing {sum(plan.counts.values()):,} images needs {(plan.needed - done) / 1e6:,.0f} MB in {out}, whose "
            f"disk has {free / 1e6:,.0f} MB free; make room or choose another disk"
        )


def read_described(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, None if there is none."""
    try:
        found = files.read_json(path)
    except FileError:
        return None
    return found if isinstance(found, dict) else None


def append_images(out: Path, written: IO[bytes], plan: PackPlan, notify: ScanProgress) -> NumberArray:
    """Write what is missing; the records of all images."""
    total = sum(plan.counts.values())
    with open_for_update(out / BYTES_FILE) as content:
        begun = continue_from(content, written)
        batch, held, done, flushed = [], bytearray(), len(begun), time.monotonic()
        notify(done, total)
        for image in plan.read(done) if done < total else ():
            encoded, record = checked_record(image, plan.on_error)
            held += encoded
            batch.append(record)
            late = time.monotonic() - flushed >= FLUSH_SECONDS
            if late or len(held) >= FLUSH_BYTES or len(batch) >= FLUSH_IMAGES:
                flush(content, held, written, batch)
                done += len(batch)
                notify(done, total)
                batch, held, flushed = [], bytearray(), time.monotonic()
        flush(content, held, written, batch)
        notify(total, total)
        written.seek(0)
        records = np.frombuffer(written.read(), dtype=PACK_RECORD)
    if len(records) != total:
        raise DataError(f"{total:,} images were to be packed into {out} and {len(records):,} came; run it again")
    return records


def open_for_update(path: Path) -> IO[bytes]:
    path.touch()
    return path.open("r+b")


def continue_from(content: IO[bytes], written: IO[bytes]) -> NumberArray:
    """The records of whole images; what is beyond them in the two files is cut off."""
    text = written.read()
    whole = len(text) // PACK_RECORD.itemsize * PACK_RECORD.itemsize
    records = np.frombuffer(text[:whole], dtype=PACK_RECORD)
    ends = np.cumsum(records["length"])
    records = records[: int(np.searchsorted(ends, content.seek(0, 2), side="right"))]
    for file, size in ((content, int(records["length"].sum())), (written, len(records) * PACK_RECORD.itemsize)):
        file.truncate(size)
        file.seek(size)
    return records


def checked_record(image: PackedImage, on_error: str) -> tuple[bytes, NumberArray]:
    """The bytes to write and their record."""
    encoded, label, called = image
    flaw = UNREADABLE if encoded is None else find_flaw(encoded)
    if flaw and on_error == "fail":
        raise DataError(f"{called} {FLAWS[flaw]}; replace or remove it, or pack with --skip-errors")
    kept = b"" if encoded is None or (flaw and on_error == "skip") else encoded
    record = np.zeros((), dtype=PACK_RECORD)
    record["label"], record["length"], record["digest"], record["flaw"] = label, len(kept), sha256_of(kept), flaw
    return kept, record


def flush(content: IO[bytes], held: bytearray, written: IO[bytes], batch: list[NumberArray]) -> None:
    """Put bytes on the disk, and then their records."""
    content.write(held)
    files.flush_to_disk(content)
    written.write(b"".join(record.tobytes() for record in batch))
    files.flush_to_disk(written)


def finish_pack(out: Path, plan: PackPlan, records: NumberArray) -> None:
    begins = np.cumsum(records["length"]) - records["length"]
    kept = records["flaw"] == 0 if plan.on_error != "keep" else np.ones(len(records), dtype=bool)
    of = np.repeat(np.arange(len(plan.counts)), list(plan.counts.values()))
    counts = {kind: int(kept[of == place].sum()) for place, kind in enumerate(plan.counts)}
    if not plan.class_names:
        require_few_classes(str(plan.about.get("source", out)), int(records["label"].max(initial=0)), len(records))
    names = plan.class_names or tuple(str(label) for label in range(int(records["label"].max(initial=0)) + 1))
    left_out = {"images that cannot be read": int((~kept).sum())} if not kept.all() else {}
    found = EncodedSet(
        images=EncodedImages.of(
            [Path(BYTES_FILE)], np.zeros(int(kept.sum())), begins[kept], records["length"][kept], records["label"][kept]
        ),
        counts=counts,
        class_names=names,
        made=plan.made,
        passed_over={**plan.passed_over, **left_out},
        scan=ImageScan(records["digest"][kept], records["flaw"][kept]),
    )
    save_pack(out, found, {**plan.about, "stamp": plan.stamp, "bytes": int(records["length"].sum())})
    remove_traces(out)


def save_pack(out: Path, found: EncodedSet, about: Mapping[str, Any]) -> None:
    """All files of a pack but its bytes. `found`: a set with its scan, at its offsets there. `about`: `stamp`, `bytes`
    and what `pack.json` says besides.
    """
    assert found.scan is not None
    known = identity_of_set(found)
    save_index(out / PACK_INDEX, found.images, {"identity": known}, durable=True)
    scanned = np.zeros(len(found.images), dtype=SCANNED)
    scanned["digest"], scanned["flaw"] = found.scan
    with files.replacing(out / SCAN_FILE) as scratch, scratch.open("wb") as file:
        np.save(file, scanned)
    described = {"version": PACK_VERSION, **found.about(), **about, "identity": known}
    files.write(out / PACK_FILE, json.dumps(described, indent=1))


def remove_traces(out: Path) -> None:
    for name in (UNFINISHED, WRITTEN):
        (out / name).unlink(missing_ok=True)


def require_few_classes(what: str, highest: int, count: int) -> None:
    """Refuse a label that leaves most classes without an image."""
    if highest >= max(count, 1):
        raise DataError(
            f"{what} has the label {highest} but only {count} images; number the classes from 0 without gaps"
        )


def identity_of_set(found: EncodedSet) -> str:
    """As `scan.identity`, of a set whose scan is known."""
    assert found.scan is not None
    parts: dict[str, tuple[NumberArray, NumberArray]] = {}
    for kind in found.counts:
        place = slice(*found.range_of(kind))
        parts[kind] = (found.images.labels[place], found.scan.digests[place])
    return identity(parts)
