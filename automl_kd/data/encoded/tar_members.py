"""The members of an uncompressed tar file: their names, and where their bytes lie. Only headers are read.

Formats: ustar, GNU (long names, sizes in binary) and pax (`path` and `size`). The standard library's `tarfile`
reads the same and makes an object for each member, which takes many times as long.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from automl_kd.errors import DataError

TAR_BLOCK = 512
LONGEST_NAME = 2**20
"""Bytes of a header that holds a name or attributes; more are damage."""


COMPRESSED_BEGINS = (b"\x1f\x8b", b"BZh", b"\xfd7zX", b"\x28\xb5\x2f\xfd")
"""First bytes of gzip, bzip2, xz and zstd."""


class TarMember(NamedTuple):
    """A regular file in a tar file: `offset`, `length` of its bytes there."""

    name: str
    offset: int
    length: int


def tar_members(path: Path, file: BufferedReader) -> Iterator[TarMember]:
    """Those of the open `file` at `path`, in its order. `DataError` if it is compressed, damaged, or ends too early."""
    handle = file.fileno()
    if os.pread(handle, 4, 0).startswith(COMPRESSED_BEGINS):
        raise DataError(
            f"{path} is compressed, so its images cannot be read one by one; unpack it with gunzip, or with what its "
            "first bytes say"
        )
    size = os.fstat(handle).st_size
    at, name, length = 0, b"", -1  # name and length as a header before the member has given them
    while len(header := os.pread(handle, TAR_BLOCK, at)) == TAR_BLOCK:
        if header == bytes(TAR_BLOCK):
            return
        require_header(path, header, at)
        kind, begin = header[156:157], at + TAR_BLOCK
        stated = read_number(path, header[124:136]) if length < 0 or kind in b"xgLK" else length
        if begin + stated > size:
            break
        at = begin + -(-stated // TAR_BLOCK) * TAR_BLOCK
        if kind in b"xgLK":
            if stated > LONGEST_NAME:
                raise DataError(f"{path} is damaged at byte {begin:,}; copy the shard again")
            content = os.pread(handle, stated, begin)
            if kind == b"L":
                name = content.rstrip(b"\0")
            elif kind == b"x":
                name, length = read_attributes(path, content, name, length)
            continue
        if kind in b"0\x007":
            yield TarMember(os.fsdecode(name or short_name(header)), begin, stated)
        name, length = b"", -1
    raise DataError(f"{path} ends before its last member does, or before the end mark of tar; copy the shard again")


def require_header(path: Path, header: bytes, at: int) -> None:
    checksum = sum(header[:148]) + sum(header[156:]) + 8 * ord(" ")
    if read_number(path, header[148:156]) != checksum:
        wrong = "is no tar file" if at == 0 else f"is damaged at byte {at:,}"
        raise DataError(f"{path} {wrong}; copy or write the shard again")


def read_number(path: Path, field: bytes) -> int:
    if field[0] & 0x80:  # in binary, as GNU writes what octal digits cannot
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field.partition(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        raise DataError(f"{path} is no tar file, or damaged; copy or write the shard again") from None


def short_name(header: bytes) -> bytes:
    name, prefix = (header[slice(*place)].partition(b"\0")[0] for place in ((0, 100), (345, 500)))
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def read_attributes(path: Path, content: bytes, name: bytes, length: int) -> tuple[bytes, int]:
    """Name and length with what a pax header says of them: lines "LENGTH KEY=VALUE", LENGTH being of the whole line."""
    while content:
        digits, _, rest = content.partition(b" ")
        try:
            key, _, value = content[len(digits) + 1 : int(digits) - 1].partition(b"=")
            length = int(value) if key == b"size" else length
        except ValueError:
            raise DataError(f"{path} is damaged in a header; copy or write the shard again") from None
        name = value if key == b"path" else name
        if not 0 < int(digits) <= len(content) or not rest:
            raise DataError(f"{path} is damaged in a header; copy or write the shard again")
        content = content[int(digits) :]
    return name, length
