#!/usr/bin/env bash
# timm's optimiser "sgd" is Nesterov's; plain momentum is called "momentum".
#
# Versions: timm 1.0.31, torch 2.14.1.
# Expected: opt="sgd" with momentum 0.9 is torch.optim.SGD's default, without Nesterov's step.
# Seen: create_optimizer_v2 sets nesterov=True for "sgd", and False for "momentum". Weight decay leaves out biases and norms
# (as documented), which torch's SGD does not.
# So a baseline "trained with SGD, momentum 0.9, weight decay 1e-4" is another recipe than the same words in a torch script.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HF_HOME="$folder/hub" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.14.1 torchvision==0.29.1 timm==1.0.31
environment/bin/python - <<'PROGRAM'
import torch
from timm.optim import create_optimizer_v2

network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
seen = {}
for name in ("sgd", "momentum"):
    groups = create_optimizer_v2(network, opt=name, lr=0.1, momentum=0.9, weight_decay=1e-4).param_groups
    seen[name] = groups[0]["nesterov"], sorted((group["weight_decay"], len(group["params"])) for group in groups)
decayed = [(0.0, 3), (0.0001, 1)]
known = {"sgd": (True, decayed), "momentum": (False, decayed)}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
