"""What the first bytes of a JPEG say, without a library: size, and whether anything asks for more than decoding.

ITU-T T.81 (1992), annex B: a file is a row of markers, each with the length of its segment, and the frame header has
precision, height, width and the number of components.
"""

from __future__ import annotations

BEGIN = b"\xff\xd8"
FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Frame headers of what libjpeg decodes: baseline, extended and progressive."""

OTHER_FRAMES = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
SCAN = 0xDA
SPEAKING = frozenset({0xE1, 0xE2})
"""Segments that may turn an image (EXIF, XMP) or hold more than one (MPO): whoever finds one asks a library."""

PROFILE = b"ICC_PROFILE\0"
"""A colour profile, which is not applied."""


def plain_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG of 8 bits in grey or three colours that nothing turns; None if that is not certain."""
    at, last = 2, len(content) - 9
    if not content.startswith(BEGIN):
        return None
    while at < last and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # may fill the room before a marker
            at += 1
            continue
        if marker in FRAMES:
            height, width = int.from_bytes(content[at + 5 : at + 7]), int.from_bytes(content[at + 7 : at + 9])
            plain = content[at + 4] == 8 and content[at + 9] in {1, 3} and height > 0 and width > 0
            return (width, height) if plain else None
        speaks = marker in SPEAKING and not content.startswith(PROFILE, at + 4)
        if speaks or marker in OTHER_FRAMES or marker == SCAN or marker < 0xC0:
            return None
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    return None
