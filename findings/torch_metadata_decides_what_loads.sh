#!/usr/bin/env bash
# Copying a state dict loses what decides how it is loaded.
#
# Versions: torch 2.13.0 (MNASNet: torchvision 0.29.1, read by hand).
# Expected: dict(state), state.copy() and {**state} load as state does.
# Seen: the module versions are in an attribute, _metadata, that no copy takes along (torch.save keeps it, safetensors cannot).
# Without it a batch norm that lacks num_batches_tracked is filled up in silence, where strict loading complains otherwise;
# torchvision's MNASNet raises "version should be set to 1 or 2 instead of None" for its own weights.
# So a checkpoint that went through any dictionary loads by other rules, or not at all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import torch
from torch import nn

state = nn.BatchNorm2d(2).state_dict()
del state["num_batches_tracked"]
torch.save(state, "state.pt")
copies = {"itself": state, "saved": torch.load("state.pt"), "dict()": dict(state), ".copy()": state.copy(), "type()": type(state)(state)}
seen = {}
for name, copy in copies.items():
    try:
        nn.BatchNorm2d(2).load_state_dict(copy)
        seen[name] = "loads"
    except RuntimeError:
        seen[name] = "missing key"
known = {"itself": "missing key", "saved": "missing key", "dict()": "loads", ".copy()": "loads", "type()": "loads"}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
