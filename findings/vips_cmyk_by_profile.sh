#!/usr/bin/env bash
# The same CMYK JPEG has other colours in libvips than in Pillow, OpenCV and simplejpeg.
#
# Versions: pillow 13.0.0, opencv-python-headless 5.0.0.93, pyvips 3.2.0 with libvips 8.18.7, simplejpeg 1.9.0.
# Expected: decoders that turn an untagged CMYK JPEG into RGB agree to a level or two, as they do for RGB JPEGs.
# Seen: Pillow, OpenCV and simplejpeg agree within about one level on average; libvips' colourspace("srgb") applies a press
# profile that it carries, and differs by more than 15 levels on average.
# So a data set with some CMYK files (ImageNet has them) gets other inputs, when a loader is swapped for a faster one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --no-compile pillow==13.0.0 opencv-python-headless==5.0.0.93 'pyvips[binary]==3.2.0' pyvips-binary==8.18.7 simplejpeg==1.9.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import io

import cv2
import numpy as np
import pyvips
import simplejpeg
from PIL import Image

ramp = np.linspace(0, 255, 64)
colours = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], 255 - ramp[None, :]), axis=-1).astype(np.uint8)
buffer = io.BytesIO()
Image.fromarray(colours).convert("CMYK").save(buffer, "JPEG", quality=95)
data = buffer.getvalue()
pillow = np.asarray(Image.open(buffer).convert("RGB")).astype(int)
others = {
    "cv2": cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1],
    "simplejpeg": simplejpeg.decode_jpeg(data),
    "vips": pyvips.Image.new_from_buffer(data, "").colourspace("srgb").numpy(),
}
distance = {name: float(abs(pixels - pillow).mean()) for name, pixels in others.items()}
print("mean distance to Pillow, levels:", distance)
seen = {name: "near" if value < 3 else "far" if value > 15 else "between" for name, value in distance.items()}
known = {"cv2": "near", "simplejpeg": "near", "vips": "far"}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
