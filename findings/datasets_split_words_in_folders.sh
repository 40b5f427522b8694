#!/usr/bin/env bash
# datasets reads a word like "train" or "test" anywhere in a path as a split: classes and images vanish, or splits merge.
#
# Versions: datasets 5.2.0, pillow 13.0.0.
# Expected: a folder of one folder per class gives all its classes and images; Train/ and Test/ give two splits.
# Seen: with the classes bus, plane and train only the images of train are read, without labels; where some files are called
# cat_test_1.png only those are read, as a test split; the folders Train/ and Test/ become one split, "train".
# So a student is trained on a third of the images, or on its own test set, and the loader says nothing.
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


def write(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), 128, np.uint8)).save(path)


def read(folder):
    splits = load_dataset("imagefolder", data_dir=folder)
    return {name: (len(rows), getattr(rows.features.get("label"), "names", None)) for name, rows in splits.items()}


for index in range(3):
    for name in ("bus", "plane", "train"):
        write(f"vehicles/{name}/{index}.png")
    for name in ("cat", "dog"):
        write(f"pets/{name}/{name}_{('left', 'test', 'right')[index]}_{index}.png")
        write(f"capital/Train/{name}/{index}.png")
        write(f"capital/Test/{name}/{index}.png")
seen = {folder: read(folder) for folder in ("vehicles", "pets", "capital")}
known = {
    "vehicles": {"train": (3, None)},
    "pets": {"test": (2, ["cat", "dog"])},
    "capital": {"train": (12, ["cat", "dog"])},
}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
