#!/usr/bin/env bash
# OpenVINO's conversion puts the caller's network into evaluation mode, and saving clips large weights.
#
# Versions: openvino 2026.4.1, torch 2.13.0.
# Expected: convert_model leaves the network in the mode it was in; a weight that float16 cannot hold is kept or refused.
# Seen: after convert_model all modules are in evaluation mode; save_model, which stores float16 by default, turns 70,000 into
# 65,504 and 1e-9 into 0 without a word. (A tensor of which most is out of range is kept, and so are all by
# compress_to_fp16=False.)
# So a student exported after each epoch trains on without dropout and with frozen batch norm from the first export on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6 openvino==2026.4.1
environment/bin/python - <<'PROGRAM'
import warnings

import openvino
import torch
from torch import nn

warnings.simplefilter("ignore")
network = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Dropout()).train()
with torch.no_grad():
    network[0].weight.copy_(torch.eye(4))
    network[0].weight[0] = torch.tensor([70_000.0, 1e-9, -1e6, 1.0])
model = openvino.convert_model(network, example_input=torch.rand(1, 4))
seen = {"training after": [network.training, network[1].training]}
for compress in (True, False):
    openvino.save_model(model, "model.xml", compress_to_fp16=compress)
    stored = openvino.Core().read_model("model.xml")
    constants = [node.get_data() for node in stored.get_ops() if node.get_type_name() == "Constant"]
    weight = next(value for value in constants if value.shape == (4, 4))
    seen["fp16" if compress else "fp32"] = [float(number) for number in weight[0, [0, 2]]], bool(weight[0, 1] > 0)
known = {"training after": [False, False], "fp16": ([65_504.0, -65_504.0], False), "fp32": ([70_000.0, -1_000_000.0], True)}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
