#!/usr/bin/env bash
# torch's FlopCounterMode counts the backward pass of a depthwise convolution up to channels times too high.
#
# Versions: torch 2.13.0.
# Expected: backward costs twice forward, as for other convolutions: one part for the weights, one for the input.
# Seen: the part for the weights is counted as if there were one group: with g groups backward is (1 + g) times forward, so 9
# times for 8 channels and 65 times for 64.
# So training a MobileNet-like student looks dearer than training its dense teacher, and equal-compute comparisons are skewed.
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
from torch.utils.flop_counter import FlopCounterMode


def backward_over_forward(channels, groups):
    convolution = nn.Conv2d(channels, channels, 3, padding=1, groups=groups)
    images = torch.rand(1, channels, 10, 10, requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        output = convolution(images).sum()
    with FlopCounterMode(display=False) as backward:
        output.backward()
    return backward.get_total_flops() / forward.get_total_flops()


seen = {(channels, groups): backward_over_forward(channels, groups) for channels, groups in ((8, 1), (8, 2), (8, 8), (64, 64))}
known = {(8, 1): 2.0, (8, 2): 3.0, (8, 8): 9.0, (64, 64): 65.0}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
