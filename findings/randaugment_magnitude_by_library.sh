#!/usr/bin/env bash
# RandAugment of magnitude 9 turns images by 9 degrees in torchvision and by 27 in timm, whose operations happen half of the time.
#
# Versions: torchvision 0.29.1, timm 1.0.31, torch 2.14.1, pillow 13.0.0.
# Expected: "two operations of magnitude 9" is one augmentation.
# Seen: torchvision's scale ends at 30, timm's at 10, for the same largest angle of 30 degrees. In torchvision both operations
# happen; in timm each is skipped with probability 1/2 ("p", 0.5 unless the string says otherwise), so a quarter of the images stays
# as it is.
# So "rand-m6-mstd0.5-inc1" of a published recipe is neither magnitude 6 nor two operations elsewhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HF_HOME="$folder/hub" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.14.1 torchvision==0.29.1 timm==1.0.31 pillow==13.0.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import random

import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import LEVEL_TO_ARG, rand_augment_transform
from torchvision.transforms import v2

torch.manual_seed(0), random.seed(0), np.random.seed(0)
image = Image.fromarray(np.random.default_rng(0).integers(30, 220, (48, 48, 3), dtype=np.uint8))
content, draws = image.tobytes(), 2000


def unchanged(transform):
    return sum(transform(image).tobytes() == content for _ in range(draws)) / draws


def torchvision_angle(magnitude):
    magnitudes, _ = v2.RandAugment()._AUGMENTATION_SPACE["Rotate"]
    return float(magnitudes(v2.RandAugment().num_magnitude_bins, 48, 48)[magnitude])


still = {
    "torchvision, magnitude 9": unchanged(v2.RandAugment(num_ops=2, magnitude=9)),
    "timm, rand-m9": unchanged(rand_augment_transform("rand-m9", {})),
    "timm, rand-m9-p1": unchanged(rand_augment_transform("rand-m9-p1", {})),
}
angles = torchvision_angle(9), abs(LEVEL_TO_ARG["Rotate"](9, {})[0])
print("angles of magnitude 9, torchvision and timm:", angles)
print("shares of unchanged images:", {name: round(share, 3) for name, share in still.items()})
seen = [
    angles == (9.0, 27.0),
    still["torchvision, magnitude 9"] < 0.03,
    0.2 < still["timm, rand-m9"] < 0.4,
    still["timm, rand-m9-p1"] < 0.03,
]
raise SystemExit(0 if all(seen) else f"changed: {seen}")
PROGRAM
