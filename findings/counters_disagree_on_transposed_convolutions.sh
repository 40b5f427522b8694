#!/usr/bin/env bash
# Half of the counters multiply a transposed convolution by the square of its stride.
#
# Versions: thop 0.1.1.post2209072238, torchinfo 1.8.0, torch-pruning 1.6.1, fvcore 0.1.5.post20221221, torch 2.13.0.
# Expected: each of the 10 * 10 inputs meets 8 * 16 * 4 * 4 weights once: 204,800 multiply-adds, plus at most the bias.
# Seen: torch and fvcore say so; thop, torchinfo and torch-pruning count the weights at each of the 20 * 20 outputs, four times
# as much.
# So the decoder of a segmentation student seems to cost four times its share, and pruning aims at the wrong layers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6 thop==0.1.1.post2209072238 torchinfo==1.8.0 fvcore==0.1.5.post20221221 torch-pruning==1.6.1
environment/bin/python - <<'PROGRAM'
import contextlib
import io
import logging
import warnings

import thop
import torch
import torchinfo
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
import torch_pruning  # noqa: E402  (warns when it is imported)

network = nn.Sequential(nn.ConvTranspose2d(8, 16, 4, stride=2, padding=1, bias=False))
images = torch.rand(1, 8, 10, 10)
with FlopCounterMode(display=False) as counter, contextlib.redirect_stdout(io.StringIO()):
    network(images)
seen = {
    "torch": counter.get_total_flops() // 2,
    "fvcore": int(FlopCountAnalysis(network, images).total()),
    "thop": int(thop.profile(network, (images,), verbose=False)[0]),
    "torchinfo": int(torchinfo.summary(network, input_data=images, verbose=0).total_mult_adds),
    "torch-pruning": int(torch_pruning.utils.count_ops_and_params(network, images)[0]),
}
known = {"torch": 204_800, "fvcore": 204_800, "thop": 819_200, "torchinfo": 819_200, "torch-pruning": 819_200}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
