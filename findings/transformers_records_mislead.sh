#!/usr/bin/env bash
# A saved image processor of transformers states a normalisation that it does not do, or does once more.
#
# Versions: transformers 5.24.0, torch 2.14.1, torchvision 0.29.1, pillow 13.0.0.
# Expected: images are normalised by image_mean and image_std of preprocessor_config.json, once.
# Seen: MobileViT's record has both, and nothing in it says that its processor does not normalise; EfficientNet's divides by
# image_std a second time (include_top). ViT's does what it says.
# So whoever reads mean and deviation from the record, as code that exports or serves does, shows these networks other images:
# black is -1 by all three records, and becomes 0 for MobileViT and -2 for EfficientNet.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HF_HOME="$folder/hub" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.14.1 torchvision==0.29.1 transformers==5.24.0 pillow==13.0.0
environment/bin/python - <<'PROGRAM'
import json

from PIL import Image
from transformers import EfficientNetImageProcessor, MobileViTImageProcessor, ViTImageProcessor

black, seen = Image.new("RGB", (300, 300), "black"), {}
for kind in (ViTImageProcessor, MobileViTImageProcessor, EfficientNetImageProcessor):
    kind().save_pretrained("saved")
    with open("saved/preprocessor_config.json") as file:
        record = json.load(file)
    stated = (0 - record["image_mean"][0]) / record["image_std"][0]
    made = kind()(black, return_tensors="pt")["pixel_values"].min().item()
    print(kind.__name__, {key: record.get(key) for key in ("do_normalize", "image_mean", "image_std", "include_top")})
    seen[kind.__name__.removesuffix("ImageProcessor")] = (round(stated, 2), round(made, 2))
known = {"ViT": (-1.0, -1.0), "MobileViT": (-1.0, 0.0), "EfficientNet": (-1.0, -2.0)}

print("black as stated, as made:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
