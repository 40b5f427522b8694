#!/usr/bin/env bash
# torchvision's MixUp and CutMix draw no partners: each image is mixed with the one before it in the batch.
#
# Versions: torchvision 0.29.1, torch 2.14.1.
# Expected: partners are a random permutation of the batch, as in the code of both papers.
# Seen: image i is always mixed with image i - 1 (and the first with the last). Where a batch holds several views of an image side
# by side, as repeated augmentation with repeat_interleave makes it on one device, three of four mixes of four views are an image
# with itself; where images are not shuffled, or are sorted by class, nearly all mixes are within a class.
# So mixing seems to be on, the loss falls, and most labels are whole. Shuffle the views, or the batch, before mixing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import torch
from torchvision.transforms import v2

torch.manual_seed(0)
images, seen = torch.zeros(16, 3, 32, 32), {}
for make in (v2.MixUp, v2.CutMix):
    mix = make(alpha=1.0, num_classes=16)
    partners = {
        (row, int(other))
        for _ in range(200)
        for row, label in enumerate(mix(images, torch.arange(16))[1])
        for other in label.nonzero().flatten()
        if int(other) != row
    }
    seen[make.__name__] = partners == {(row, (row - 1) % 16) for row in range(16)}
    views = torch.arange(4).repeat_interleave(4)
    labels = torch.cat([mix(images, views)[1] for _ in range(200)])
    seen[f"{make.__name__} of four views, at most this share mixed"] = float(((labels > 0).sum(1) > 1).float().mean().round(decimals=2))
    shuffled = [mix(images, views[torch.randperm(16)])[1] for _ in range(200)]
    shares = float(((torch.cat(shuffled) > 0).sum(1) > 1).float().mean())
    seen[f"{make.__name__} of the same, shuffled, more than 0.6 mixed"] = shares > 0.6
known = {
    "MixUp": True,
    "MixUp of four views, at most this share mixed": 0.25,
    "MixUp of the same, shuffled, more than 0.6 mixed": True,
    "CutMix": True,
    "CutMix of four views, at most this share mixed": 0.25,
    "CutMix of the same, shuffled, more than 0.6 mixed": True,
}
print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
