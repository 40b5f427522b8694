#!/usr/bin/env bash
# What torchvision's feature extractor returns for a layer depends on which other layers are asked for.
#
# Versions: torchvision 0.29.1, torch 2.14.1.
# Expected: create_feature_extractor(resnet18, ["bn1", ...])["bn1"] is batch norm's output whatever follows in the list.
# Seen: asked for alone, bn1 has negative values; asked for with a later layer, the in-place ReLU that follows has overwritten
# it, and its smallest value is 0. A forward hook on bn1 gives the overwritten map as well.
# So methods that distil maps before the activation (OFD, activation boundaries) get the maps after it, where all works when one
# layer is tried alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.14.1 torchvision==0.29.1
environment/bin/python - <<'PROGRAM'
import torch
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

torch.manual_seed(0)
network, images, hooked = resnet18().eval(), torch.randn(1, 3, 64, 64), []
seen = {
    " ".join(nodes): create_feature_extractor(network, nodes)(images)["bn1"].min().item() < 0
    for nodes in (["bn1"], ["bn1", "layer4"])
}
network.bn1.register_forward_hook(lambda module, inputs, output: hooked.append(output))
network(images)
seen["hook"] = hooked[0].min().item() < 0
known = {"bn1": True, "bn1 layer4": False, "hook": False}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
