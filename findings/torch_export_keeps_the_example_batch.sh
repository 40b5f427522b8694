#!/usr/bin/env bash
# A .pt2 file holds the images that it was exported with, and the whole batch that they were cut from.
#
# Versions: torch 2.13.0.
# Expected: the example inputs tell torch.export shapes; the file holds the program and the weights.
# Seen: torch.export.save writes the example inputs, and load gives them back. Two images given as a slice bring the other 254
# with them. The graph's nodes carry paths and lines of the Python source.
# So a student exported with images of patients hands these over, and its size is measured with them: 3 MB for a network of
# 112 weights.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import os
import zipfile

import torch
from torch import nn

network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
images = torch.rand(256, 3, 32, 32)
examples = {"batch": images, "slice of two": images[:2], "copy of two": images[:2].clone()}
sizes = {}
for name, example in examples.items():
    torch.export.save(torch.export.export(network, (example,)), f"{name}.pt2")
    sizes[name] = os.path.getsize(f"{name}.pt2")
print("bytes:", sizes)
with zipfile.ZipFile("batch.pt2") as archive:
    program = b"".join(archive.read(name) for name in archive.namelist() if name.endswith("model.json"))
seen = {
    "images come back": torch.equal(torch.export.load("batch.pt2").example_inputs[0][0], images),
    "more bytes than all images": [name for name, size in sizes.items() if size > images.numel() * 4],
    "source path": b"container.py" in program,
}
known = {"images come back": True, "more bytes than all images": ["batch", "slice of two"], "source path": True}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
