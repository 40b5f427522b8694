#!/usr/bin/env bash
# ToTensor makes the lighter half of a 16-bit image negative, and scales none of it.
#
# Versions: torchvision 0.29.1, torch 2.14.1, pillow 13.0.0.
# Expected: ToTensor gives numbers in [0, 1] for any image, as v2.ToImage with ToDtype(scale=True) does.
# Seen: for mode I;16 it gives int16: 40,000 becomes -25,536, 1,000 stays 1,000. PILToTensor gives uint16.
# So a 16-bit set read in its own mode trains on wrapped numbers; the two loaders of one library disagree on every pixel.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.14.1 torchvision==0.29.1 pillow==13.0.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import v2

image = Image.fromarray(np.array([[0, 1_000, 40_000, 65_535]], dtype=np.uint16))
old = transforms.ToTensor()(image)
new = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])(image)
seen = {
    "ToTensor": (str(old.dtype), old.flatten().tolist()),
    "v2": [round(value, 3) for value in new.flatten().tolist()],
    "PILToTensor": str(transforms.PILToTensor()(image).dtype),
}
known = {"ToTensor": ("torch.int16", [0, 1000, -25536, -1]), "v2": [0.0, 0.015, 0.61, 1.0], "PILToTensor": "torch.uint16"}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
