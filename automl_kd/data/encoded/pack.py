"""`pack:PATH`: a folder that `automl-kd pack` made, with all encoded images in one file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from automl_kd.data.encoded.encoded_set import EncodedSet, encoded_source
from automl_kd.data.encoded.index_file import load_index
from automl_kd.data.encoded.packing import (
    BYTES_FILE,
    PACK_FILE,
    PACK_INDEX,
    PACK_VERSION,
    SCAN_FILE,
    UNFINISHED,
    read_described,
)
from automl_kd.data.encoded.ranges import EncodedImages
from automl_kd.data.encoded.scan import ImageScan
from automl_kd.data.source import Source
from automl_kd.errors import DataError


def packed(path: Path, root: Path, max_value: float = 0.0) -> Source:
    """`DataError` if there is no pack, or it is unfinished or damaged.

    `root`, `max_value`: as of `encoded_source`.
    """
    return encoded_source(read_pack(path), path, root, max_value, files=(path / PACK_FILE, path / BYTES_FILE))


def read_pack(path: Path) -> EncodedSet:
    described = read_described(path / PACK_FILE)
    if described is None:
        if (path / UNFINISHED).exists():
            raise DataError(f"{path} is an unfinished pack; run the same 'automl-kd pack' again, which continues it")
        if (path / PACK_FILE).exists():
            raise DataError(f"{path / PACK_FILE} is damaged; copy the pack again, or remove and make it again")
        raise DataError(f"{path} is no pack, it has no {PACK_FILE}; make one with 'automl-kd pack SOURCE {path}'")
    if described.get("version") != PACK_VERSION:
        raise DataError(
            f"{path} is a pack of version {described.get('version')!r} and this program reads {PACK_VERSION}; pack the "
            "images again"
        )
    loaded = load_index(path / PACK_INDEX)
    if loaded is None or loaded[1].get("identity") != described.get("identity"):
        raise DataError(f"{path / PACK_INDEX} is damaged, or of another pack; copy or make the pack again")
    images = loaded[0]
    size = (path / BYTES_FILE).stat().st_size if (path / BYTES_FILE).is_file() else -1
    if size != described.get("bytes") or int((images.offset + images.length).max(initial=0)) > size:
        wanted = f"{described.get('bytes'):,} bytes"
        has = f"has {size:,}" if size >= 0 else "is not there"
        raise DataError(f"{path / BYTES_FILE} {has} where the pack has {wanted}; copy or make the pack again")
    return as_set(path, images, described)


def as_set(path: Path, images: EncodedImages, described: dict[str, Any]) -> EncodedSet:
    spelt = np.frombuffer(os.fsencode(path.absolute() / BYTES_FILE), dtype=np.uint8)
    here = replace(images, names=spelt, ends=np.array([len(spelt)], dtype=np.int64))
    try:
        records = np.load(path / SCAN_FILE)
        scan = ImageScan(records["digest"], records["flaw"])
        found = EncodedSet.of(here, described, scan)
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError) as error:
        raise DataError(f"{path} is a damaged pack; copy or make it again") from error
    if len(records) != len(images):
        raise DataError(f"{path / SCAN_FILE} is of another pack; copy or make the pack again")
    return found
