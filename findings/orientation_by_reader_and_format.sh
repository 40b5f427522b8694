#!/usr/bin/env bash
# Who turns an image by its orientation tag depends on the reader and, within one reader, on the format.
#
# Versions: pillow 13.0.0, opencv-python-headless 5.0.0.93, pyvips 3.2.0 with libvips 8.18.7, imageio 2.38.1, simplejpeg 1.9.0,
# datasets 5.2.0.
# Expected: a reader turns every format that carries the tag, or none; datasets decodes as Pillow does.
# Seen: Pillow and imageio turn TIFF only; OpenCV turns all but AVIF; libvips turns AVIF only, but its thumbnail turns all;
# simplejpeg turns nothing; datasets turns JPEG, where Pillow, which it calls, does not.
# So a set measured through datasets and the same files read through Pillow are different images, turned by 90 degrees.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HF_HOME="$folder/hub" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile pillow==13.0.0 opencv-python-headless==5.0.0.93 'pyvips[binary]==3.2.0' pyvips-binary==8.18.7 imageio==2.38.1 simplejpeg==1.9.0 datasets==5.2.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import io

import cv2
import imageio.v3 as imageio
import numpy as np
import pyvips
import simplejpeg
from datasets import Dataset, Features
from datasets import Image as ImageColumn
from PIL import Image


def through_datasets(data):
    rows = Dataset.from_dict({"image": [{"bytes": data, "path": None}]}, features=Features({"image": ImageColumn()}))
    return np.asarray(rows[0]["image"])


readers = {
    "cv2": lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR),
    "datasets": through_datasets,
    "imageio": imageio.imread,
    "pillow": lambda data: np.asarray(Image.open(io.BytesIO(data))),
    "vips": lambda data: pyvips.Image.new_from_buffer(data, "").numpy(),
    "vips thumbnail": lambda data: pyvips.Image.thumbnail_buffer(data, 30).numpy(),
}
wide = Image.fromarray(np.tile(np.arange(60, dtype=np.uint8)[None, :, None], (40, 1, 3)))
tag = Image.Exif()
tag[0x112] = 6
seen = {}
for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
    buffer = io.BytesIO()
    wide.save(buffer, kind, exif=tag)
    shapes = {name: read(buffer.getvalue()).shape for name, read in readers.items()}
    if kind == "JPEG":
        shapes["simplejpeg"] = simplejpeg.decode_jpeg(buffer.getvalue()).shape
    seen[kind] = [name for name, shape in shapes.items() if shape[0] > shape[1]]
known = {
    "JPEG": ["cv2", "datasets", "vips thumbnail"],
    "PNG": ["cv2", "datasets", "vips thumbnail"],
    "WEBP": ["cv2", "datasets", "vips thumbnail"],
    "TIFF": ["cv2", "datasets", "imageio", "pillow", "vips thumbnail"],
    "AVIF": ["datasets", "vips", "vips thumbnail"],
}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
