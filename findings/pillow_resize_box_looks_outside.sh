#!/usr/bin/env bash
# Pillow's resize(box=...) mixes in pixels from outside the box; crop() and then resize() does not.
#
# Versions: pillow 13.0.0.
# Expected: image.resize(size, filter, box=box) is image.crop(box).resize(size, filter) in one step.
# Seen: the filter reads beyond the box, as far as it reaches. A black square that is cut out of white surroundings gets edges of 13
# % white (bilinear) or 8 % (bicubic) when it is reduced to a quarter, of 25 or 20 % when it is doubled, and corners of nearly
# twice as much.
# So a fast path that cuts by box= shows training images whose edges hold their surroundings, and its pixels differ from
# those of torchvision's RandomResizedCrop, which cuts first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --no-compile pillow==13.0.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import numpy as np
from PIL import Image

pixels = np.full((96, 96, 3), 255, np.uint8)
pixels[32:64, 32:64] = 0
image, box = Image.fromarray(pixels), (32, 32, 64, 64)
seen = {}
for name in ("BILINEAR", "BICUBIC"):
    for side in (8, 32, 64):
        filter_ = Image.Resampling[name]
        by_box = np.asarray(image.resize((side, side), filter_, box=box))
        by_crop = np.asarray(image.crop(box).resize((side, side), filter_))
        seen[name, side] = int(by_box[side // 2, 0, 0]), int(by_box.max()), int(by_crop.max())
        print(f"{name.lower()} to {side}: middle of the left edge {seen[name, side][0]}, brightest by box {seen[name, side][1]}, "
              f"by crop {seen[name, side][2]}")
known = {
    ("BILINEAR", 8): (32, 60, 0),
    ("BILINEAR", 32): (0, 0, 0),
    ("BILINEAR", 64): (64, 112, 0),
    ("BICUBIC", 8): (20, 38, 0),
    ("BICUBIC", 32): (0, 0, 0),
    ("BICUBIC", 64): (52, 93, 0),
}
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
