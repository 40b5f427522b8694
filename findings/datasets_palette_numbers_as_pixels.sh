#!/usr/bin/env bash
# A palette PNG in numpy or torch format is its palette's numbers, not its colours.
#
# Versions: datasets 5.2.0, pillow 13.0.0, numpy 2.4.6.
# Expected: with_format("numpy") gives colours (height, width, 3), as for other colour PNGs.
# Seen: it gives (height, width) with the numbers of the palette's entries, so a light image is almost black.
# So in a set with some palette files the student learns from shuffled colours; Image(mode="RGB") is needed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HF_HOME="$folder/hub" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import numpy as np
from datasets import Dataset, Features
from datasets import Image as ImageColumn
from PIL import Image

light = np.random.default_rng(0).integers(200, 256, (16, 16, 3), dtype=np.uint8)
Image.fromarray(light).quantize(8).save("palette.png")


def pixels(column):
    rows = Dataset.from_dict({"image": ["palette.png"]}, features=Features({"image": column}))
    return rows.with_format("numpy")[0]["image"]


plain, colours = pixels(ImageColumn()), pixels(ImageColumn(mode="RGB"))
seen = {"shape": plain.shape, "brightest": int(plain.max()), "RGB": colours.shape, "darkest of RGB": bool(colours.min() >= 200)}
known = {"shape": (16, 16), "brightest": 7, "RGB": (16, 16, 3), "darkest of RGB": True}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
