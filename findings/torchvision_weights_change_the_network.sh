#!/usr/bin/env bash
# Asking torchvision for weights changes what GoogLeNet and Inception compute, and the weights do not say so.
#
# Versions: torchvision 0.29.1, torch 2.14.1.
# Expected: googlenet(weights=...) is googlenet() with the file's state loaded, as for other networks.
# Seen: with weights, transform_input is set, and the forward function normalises images anew, to mean and deviation 0.5. The
# flag is in no state dict, so the same tensors in googlenet() load without a complaint and give other logits. resnet18 agrees.
# So a teacher loaded from the file that torchvision fetched sees images normalised by other numbers than it was trained with.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export TORCH_HOME="$folder/torch" OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.14.1 torchvision==0.29.1
environment/bin/python -W ignore - <<'PROGRAM'
import os

import torch
from torchvision.models import get_model, get_model_weights

os.makedirs("torch/hub/checkpoints")
torch.manual_seed(0)
images, seen = torch.rand(1, 3, 224, 224), {}
for name, options in (("resnet18", {}), ("googlenet", {"init_weights": False})):
    weights = get_model_weights(name).DEFAULT
    bare = get_model(name, weights=None, **options)
    # Drawn weights stand for the published ones, where torchvision keeps what it fetched.
    torch.save(bare.state_dict(), "torch/hub/checkpoints/" + os.path.basename(weights.url))
    asked = get_model(name, weights=weights).eval()
    missing = bare.load_state_dict(asked.state_dict(), strict=False).missing_keys
    assert all(one.startswith("aux") for one in missing)
    seen[name] = torch.equal(bare.eval()(images), asked(images))
known = {"resnet18": True, "googlenet": False}

print("equal:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
