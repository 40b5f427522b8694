#!/usr/bin/env bash
# torchinfo counts a linear layer over a sequence as if the sequence had one position.
#
# Versions: torchinfo 1.8.0, torch 2.13.0.
# Expected: nn.Linear(32, 64) over 50 positions takes 50 * 32 * 64 multiply-adds, and an attention layer takes some.
# Seen: the linear layer is counted once (2,112, with its bias), and nn.MultiheadAttention as 0.
# So the MLPs of a ViT-B/16 are measured 197 times too small, and convolutional students look dear beside it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 torchinfo==1.8.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import torch
import torchinfo
from torch import nn


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, tokens):
        return self.attention(tokens, tokens, tokens)[0]


def macs(module, shape):
    return torchinfo.summary(module, input_data=torch.rand(shape), verbose=0).total_mult_adds


seen = {"linear, 50 positions": macs(nn.Linear(32, 64), (1, 50, 32)), "linear, 50 images": macs(nn.Linear(32, 64), (50, 32)),
        "attention": macs(Attention(), (1, 50, 32))}
known = {"linear, 50 positions": 2_112, "linear, 50 images": 105_600, "attention": 0}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
