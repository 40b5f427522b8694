#!/usr/bin/env bash
# torch.fx's fuse() gives a wrong network where one convolution is followed by two batch norms.
#
# Versions: torch 2.13.0.
# Expected: a convolution that is used twice is left alone, or copied, or refused.
# Seen: both batch norms are folded into the one convolution, one after the other, and removed: outputs differ by more than
# their own size. One batch norm after two convolutions is folded correctly.
# So a recursive (weight-sharing) teacher that is folded for speed teaches other answers than it has, and nothing warns.
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
from torch.fx.experimental.optimization import fuse


class SharedConvolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(4, 4, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.second(self.convolution(self.first(self.convolution(x)).relu()))


class SharedNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.two(self.norm(self.one(x)).relu()))


def error(network):
    """The largest difference of the fused network's outputs, in units of the largest output."""
    for _ in range(20):
        network.train()(torch.rand(8, 4, 8, 8) * 2 + 1)
    network.eval()
    images = torch.rand(2, 4, 8, 8)
    with torch.no_grad():
        expected = network(images)
        return float((fuse(network)(images) - expected).abs().max() / expected.abs().max())


torch.manual_seed(0)
errors = {"shared convolution": error(SharedConvolution()), "shared norm": error(SharedNorm())}
print("errors:", errors)
seen = {name: value < 1e-3 for name, value in errors.items()}
known = {"shared convolution": False, "shared norm": True}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
