#!/usr/bin/env bash
# One image beside the class folders, and datasets drops the labels of all images.
#
# Versions: datasets 5.2.0, pillow 13.0.0.
# Expected: an image that lies in no class folder is refused, skipped or left without a label; the others keep theirs.
# Seen: the label column is gone from the whole set, and the stray image is one of the rows. The same holds for a set of a
# single class.
# So a folder that trained yesterday is unlabelled today, because someone saved a preview beside the classes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HF_HOME="$folder/hub" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import os

import numpy as np
from datasets import disable_progress_bars, load_dataset
from PIL import Image

disable_progress_bars()
pixels = Image.fromarray(np.full((8, 8, 3), 128, np.uint8))
for folder in ("clean/cat", "clean/dog", "stray/cat", "stray/dog"):
    os.makedirs(folder)
    for index in range(3):
        pixels.save(f"{folder}/{index}.png")
pixels.save("stray/preview.png")
seen = {}
for folder in ("clean", "stray"):
    rows = load_dataset("imagefolder", data_dir=folder, split="train")
    seen[folder] = (len(rows), sorted(rows.column_names))
known = {"clean": (6, ["image", "label"]), "stray": (7, ["image"])}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
