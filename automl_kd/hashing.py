"""The short hashes that name what was asked: equal records, written down in one way, have equal names."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def hash_json(record: Any, digits: int = 16) -> str:
    """`digits` hex digits, at most 64, of the SHA-256 of `record` as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:digits]
