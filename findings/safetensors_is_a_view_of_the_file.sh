#!/usr/bin/env bash
# Tensors loaded from a .safetensors file follow the file, come in another order, and refuse channels_last.
#
# Versions: safetensors 0.8.0, torch 2.13.0.
# Expected: load_file reads: what happens to the file later is of no matter; the order is the state dict's; every dense tensor
# can be saved, as torch.save can.
# Seen: the tensors are mapped, so bytes that are written into the file (rsync --inplace) show up in a network that took
# them by assign=True; copying by load_state_dict's default is safe, and save_file itself replaces the file. The order is by
# dtype and name. A channels_last weight raises ValueError.
# So a teacher can change while it teaches, pairing weights by position mixes them up, and a network trained in channels_last
# has to be made contiguous before it is saved.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 safetensors==0.8.0 numpy==2.4.6 packaging==26.4
environment/bin/python - <<'PROGRAM'
import torch
from safetensors.torch import load_file, save_file
from torch import nn

network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
save_file(network.state_dict(), "network.safetensors")
copied, assigned = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
copied.load_state_dict(load_file("network.safetensors"))
assigned.load_state_dict(load_file("network.safetensors"), assign=True)
weights = network[0].weight.detach().numpy().tobytes()
with open("network.safetensors", "r+b") as file:
    file.seek(file.read().find(weights))
    file.write(bytes(len(weights)))
wide = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
try:
    save_file(wide.state_dict(), "wide.safetensors")
    channels_last = "saved"
except ValueError:
    channels_last = "ValueError"
seen = {
    "copied follows": not copied[0].weight.any().item(),
    "assigned follows": not assigned[0].weight.any().item(),
    "order kept": list(load_file("network.safetensors")) == list(network.state_dict()),
    "channels_last": channels_last,
}
known = {"copied follows": False, "assigned follows": True, "order kept": False, "channels_last": "ValueError"}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
