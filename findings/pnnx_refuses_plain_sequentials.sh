#!/usr/bin/env bash
# pnnx.export of an nn.Sequential fails with a SyntaxError, after it wrote a good ncnn model.
#
# Versions: pnnx 20261020, torch 2.13.0.
# Expected: the commonest container of all is exported like a class of one's own.
# Seen: pnnx names attributes after the modules ("self.0 = ...") in the Python file that it writes and then imports. The .param
# and .bin files lie there complete. The weights in .bin are float16 unless fp16=False is given.
# So students built as plain sequentials seem impossible to hand over to ncnn; wrapped into a class they pass.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6 pnnx==20261020
environment/bin/python - <<'PROGRAM'
import os

import pnnx
import torch
from torch import nn


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution, self.activation = nn.Conv2d(3, 4, 3), nn.ReLU()

    def forward(self, images):
        return self.activation(self.convolution(images))


def export(name, network):
    try:
        pnnx.export(network.eval(), f"{name}.pt", (torch.rand(1, 3, 8, 8),))
        return "exported"
    except SyntaxError:
        return "SyntaxError"


seen = {
    "sequential": export("plain", nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())),
    "written all the same": os.path.getsize("plain.ncnn.bin") > 0,
    "class": export("wrapped", Wrapped()),
    "less than float32": os.path.getsize("wrapped.ncnn.bin") < 4 * 112,
}
known = {"sequential": "SyntaxError", "written all the same": True, "class": "exported", "less than float32": True}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
