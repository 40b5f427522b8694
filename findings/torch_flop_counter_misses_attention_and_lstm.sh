#!/usr/bin/env bash
# torch's FlopCounterMode counts nothing for attention and LSTMs that run through a fused kernel.
#
# Versions: torch 2.13.0, on the CPU.
# Expected: the counter gives the same number in training and in evaluation, with and without gradients.
# Seen: nn.MultiheadAttention in evaluation without gradients counts 0, projections included; scaled_dot_product_attention on the
# CPU adds nothing in evaluation even with gradients; nn.LSTM counts 0 in every mode, nn.GRU does not.
# So a transformer or LSTM student is measured as free, and passes any budget.
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


def macs(module, *inputs, training, gradients):
    module.train(training)
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(gradients):
        module(*inputs)
    return counter.get_total_flops() // 2


tokens = torch.rand(1, 50, 32)
attention = nn.MultiheadAttention(32, 4, batch_first=True)
sequence = torch.rand(1, 20, 16)
modules = {
    "attention": (attention, (tokens, tokens, tokens)),
    "LSTM": (nn.LSTM(16, 32, batch_first=True), (sequence,)),
    "GRU": (nn.GRU(16, 32, batch_first=True), (sequence,)),
}
seen = {
    name: {
        "training": macs(module, *inputs, training=True, gradients=True),
        "evaluation": macs(module, *inputs, training=False, gradients=False),
    }
    for name, (module, inputs) in modules.items()
}
query = torch.rand(1, 4, 50, 8)
with FlopCounterMode(display=False) as counter:
    nn.functional.scaled_dot_product_attention(query, query, query)
seen["fused attention alone"] = counter.get_total_flops() // 2
# 50 tokens of width 32: four projections, 4 * 50 * 32 * 32, and two products, 2 * 50 * 50 * 32.
known = {"attention": {"training": 364_800, "evaluation": 0}, "LSTM": {"training": 0, "evaluation": 0},
         "GRU": {"training": 92_160, "evaluation": 92_160}, "fused attention alone": 0}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
