#!/usr/bin/env bash
# datasets stores the file that an image was opened from, not the image that it is given.
#
# Versions: datasets 5.2.0, pillow 13.0.0.
# Expected: after image.thumbnail((32, 32)) or image.paste(...), Dataset.from_dict stores what the image shows.
# Seen: methods that change an image in place keep its file name, and datasets then stores that file's path: the image comes
# back at its old size and with its old pixels. A resized copy is stored as it is.
# So a set meant to be shrunk to 32 pixels, or to have faces painted over, holds the originals.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HF_HOME="$folder/hub" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import numpy as np
from datasets import Dataset
from PIL import Image

noise = np.random.default_rng(0).integers(1, 256, (200, 200, 3), dtype=np.uint8)
Image.fromarray(noise).save("original.png")


def back(image):
    return Dataset.from_dict({"image": [image]})[0]["image"]


small = Image.open("original.png")
small.thumbnail((32, 32))
painted = Image.open("original.png")
painted.paste((0, 0, 0), (0, 0, 200, 200))
seen = {
    "thumbnail": (small.size, back(small).size),
    "paste, brightest": (int(np.asarray(painted).max()), int(np.asarray(back(painted)).max())),
    "resize": back(Image.open("original.png").resize((32, 32))).size,
}
known = {"thumbnail": ((32, 32), (200, 200)), "paste, brightest": (0, 255), "resize": (32, 32)}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
