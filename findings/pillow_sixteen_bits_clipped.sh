#!/usr/bin/env bash
# Pillow turns a 16-bit grey image into 8 bits by clipping, a 16-bit colour image by scaling.
#
# Versions: pillow 13.0.0, numpy 2.4.6.
# Expected: convert("L") and convert("RGB") scale a 16-bit grey PNG to 8 bits, as opening a 16-bit colour PNG does.
# Seen: both conversions of mode I;16 clip at 255, so 255 of 256 grey levels become white; colour is divided by 256.
# So a student trained on 16-bit scans read with convert("RGB") sees white squares, and nothing warns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --no-compile pillow==13.0.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import struct
import zlib

import numpy as np
from PIL import Image


def write_png(path, pixels, colour_type):
    """A 16-bit PNG, written by hand, as Pillow itself writes no 16-bit colour."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
            file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


values = np.array([[0, 255, 256, 25_600, 65_535]], dtype=np.uint16)
write_png("grey.png", values, colour_type=0)
write_png("colour.png", np.dstack([values] * 3), colour_type=2)
grey = Image.open("grey.png")
seen = {
    "L": np.asarray(grey.convert("L"))[0].tolist(),
    "RGB": np.asarray(grey.convert("RGB"))[0, :, 0].tolist(),
    "colour": np.asarray(Image.open("colour.png"))[0, :, 0].tolist(),
}
known = {"L": [0, 255, 255, 255, 255], "RGB": [0, 255, 255, 255, 255], "colour": [0, 0, 1, 100, 255]}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
