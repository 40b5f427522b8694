#!/usr/bin/env bash
# A TIFF in which white is zero comes out as a negative or not, by reader and by bit depth.
#
# Versions: pillow 13.0.0, opencv-python-headless 5.0.0.93, pyvips 3.2.0 with libvips 8.18.7, imageio 2.38.1, tifffile 2026.3.3.
# Expected: all readers invert such a file, or none does, whatever its depth.
# Seen: at 8 bits Pillow, OpenCV and libvips invert, imageio and tifffile do not; at 16 bits libvips alone inverts.
# So a teacher trained through Pillow and a student fed through imageio see negatives of each other, and a set that was
# stored again at 16 bits turns over for Pillow and OpenCV.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --no-compile pillow==13.0.0 opencv-python-headless==5.0.0.93 'pyvips[binary]==3.2.0' pyvips-binary==8.18.7 imageio==2.38.1 tifffile==2026.3.3 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import cv2
import imageio.v3 as imageio
import numpy as np
import pyvips
import tifffile
from PIL import Image

readers = {
    "cv2": lambda path: cv2.imread(path, cv2.IMREAD_UNCHANGED),
    "imageio": imageio.imread,
    "pillow": lambda path: np.asarray(Image.open(path)),
    "tifffile": tifffile.imread,
    "vips": lambda path: pyvips.Image.new_from_file(path).numpy(),
}
ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
seen = {}
for bits, pixels in ((8, ramp), (16, ramp.astype(np.uint16) * 257)):
    tifffile.imwrite(f"{bits}.tif", pixels, photometric="miniswhite")
    seen[bits] = [name for name, read in readers.items() if read(f"{bits}.tif")[0, 0] == 2**bits - 1]
known = {8: ["cv2", "pillow", "vips"], 16: ["vips"]}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
