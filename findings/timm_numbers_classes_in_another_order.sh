#!/usr/bin/env bash
# timm numbers the classes of a folder in natural order, torchvision in the order of characters.
#
# Versions: timm 1.0.31, torchvision 0.29.1, torch 2.14.1.
# Expected: one folder of class folders has one numbering.
# Seen: timm sorts apple, class1, class2, class10, Zebra; torchvision Zebra, apple, class1, class10, class2.
# So a teacher trained by timm's script, measured on torchvision's ImageFolder, answers for other classes: with the folders 0 to
# 99 most answers count as wrong, and a student is taught the wrong names.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HF_HOME="$folder/hub" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.14.1 torchvision==0.29.1 timm==1.0.31 pillow==13.0.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import os

import numpy as np
from PIL import Image
from timm.data import create_dataset
from torchvision.datasets import ImageFolder

for name in ("class1", "class2", "class10", "Zebra", "apple"):
    os.makedirs(f"images/{name}")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(f"images/{name}/0.png")
seen = {
    "timm": list(create_dataset("", root="images").reader.class_to_idx),
    "torchvision": list(ImageFolder("images").class_to_idx),
}
known = {
    "timm": ["apple", "class1", "class2", "class10", "Zebra"],
    "torchvision": ["Zebra", "apple", "class1", "class10", "class2"],
}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
