"""All that decoding a sequence of batches needs to know: images, views and order, packed into one file for a helper."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from automl_kd.data.encoded.ranges import ARRAYS, EncodedImages
from automl_kd.data.kept import hashed
from automl_kd.data.stream.decoder import DecodeMode, decoder_identity
from automl_kd.data.stream.plan import ViewPlan
from automl_kd.data.stream.render import RowNumbers, ViewMaker
from automl_kd.data.stream.sequence import BatchSequence
from automl_kd.hashing import hash_json


@dataclass(frozen=True, eq=False)
class StreamSource:
    """`views` of images in the order of `sequence`. `cache_bytes`, `folder`: of views kept on disk.

    `stamp`: of the files' sizes and times, where views are kept; empty where none are.
    """

    views: ViewMaker
    sequence: BatchSequence
    cache_bytes: int = 0
    folder: str = ""
    stamp: str = ""
    arrays_digest: str = field(default="", kw_only=True)

    @staticmethod
    def of(views: ViewMaker, sequence: BatchSequence, *, cache_bytes: int, folder: str) -> StreamSource:
        """`DataError` if views are to be kept and a file of the images is gone."""
        digest = hashlib.sha256(views.index.tobytes())
        for name in ARRAYS:
            digest.update(np.ascontiguousarray(getattr(views.images, name)).data)
        stamp = ""
        if cache_bytes:
            _, rows = np.unique(views.images.file, return_index=True)
            stamp = hashed("views", (views.images.path(int(row)) for row in rows))
        return StreamSource(views, sequence, cache_bytes, folder, stamp, arrays_digest=digest.hexdigest())

    @cached_property
    def key(self) -> str:
        """Equal for sources of equal batches."""
        described = {**self.describe(), "cache_bytes": 0, "folder": ""}
        return hash_json([described, decoder_identity(self.views.mode)], digits=32)

    @property
    def batch_bytes(self) -> int:
        """Of a whole batch."""
        return self.sequence.batch_size * self.view_bytes

    @property
    def view_bytes(self) -> int:
        return 3 * self.views.plan.height * self.views.plan.width

    def describe(self) -> dict[str, Any]:
        """In plain values, but for the arrays."""
        return {
            "plan": self.views.plan.to_json(),
            "max_value": self.views.max_value,
            "mode": self.views.mode,
            "sequence": asdict(self.sequence),
            "cache_bytes": self.cache_bytes,
            "folder": self.folder,
            "stamp": self.stamp,
            "arrays_digest": self.arrays_digest,
        }

    def pack(self) -> int:
        """A file in memory that holds everything, which `unpack` reads; the caller closes it."""
        handle = os.memfd_create("automl_kd_images")
        with os.fdopen(os.dup(handle), "wb") as file:
            for name in ARRAYS:
                np.save(file, np.asarray(getattr(self.views.images, name)))
            np.save(file, self.views.index)
            np.save(file, np.frombuffer(json.dumps(self.describe()).encode(), np.uint8))
        return handle

    @staticmethod
    def unpack(handle: int) -> StreamSource:
        """What was packed into an open file, read into memory of this process."""
        with os.fdopen(os.dup(handle), "rb") as file:
            file.seek(0)
            arrays = {name: np.load(file) for name in ARRAYS}
            index: RowNumbers = np.load(file)
            record = json.loads(np.load(file).tobytes())
        plan, mode = ViewPlan.from_json(record.pop("plan")), mode_of(record.pop("mode"))
        views = ViewMaker(EncodedImages(**arrays), index, plan, record.pop("max_value"), mode)
        return StreamSource(views, BatchSequence(**record.pop("sequence")), **record)


def mode_of(name: str) -> DecodeMode:
    if name not in {"exact", "scaled"}:
        raise ValueError(f"mode must be exact or scaled, got {name!r}")
    return "exact" if name == "exact" else "scaled"
