#!/usr/bin/env bash
# Counting with fvcore changes the network: batch norm learns from the dummy images.
#
# Versions: fvcore 0.1.5.post20221221, torchinfo 1.8.0, thop 0.1.1.post2209072238, torch 2.13.0.
# Expected: a counter leaves a network as it found it; thop and torchinfo do.
# Seen: FlopCountAnalysis runs the network in the mode that it is in. In training mode the running statistics move towards
# torch.rand's. It also knows no LSTM, and counts it as 0.
# So a report of costs in the middle of training changes the accuracy that is measured next.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6 fvcore==0.1.5.post20221221 torchinfo==1.8.0 thop==0.1.1.post2209072238
environment/bin/python - <<'PROGRAM'
import logging
import warnings

import thop
import torch
import torchinfo
from fvcore.nn import FlopCountAnalysis
from torch import nn

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
images = torch.rand(4, 3, 8, 8) + 5


def changes(count):
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)).train()
    count(network)
    return bool(network[0].running_mean.abs().sum() > 0)


seen = {
    "fvcore": changes(lambda network: FlopCountAnalysis(network, images).total()),
    "thop": changes(lambda network: thop.profile(network, (images,), verbose=False)),
    "torchinfo": changes(lambda network: torchinfo.summary(network, input_data=images, verbose=0)),
    "LSTM by fvcore": int(FlopCountAnalysis(nn.LSTM(16, 32), torch.rand(20, 1, 16)).total()),
}
known = {"fvcore": True, "thop": False, "torchinfo": False, "LSTM by fvcore": 0}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
