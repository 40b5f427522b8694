#!/usr/bin/env bash
# torch's ONNX export drops AvgPool2d's divisor_override without a word.
#
# Versions: torch 2.13.0 (both exporters), onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0.
# Expected: an export that cannot express an option fails, or expresses it by other operators.
# Seen: both exporters write a plain AveragePool, so outputs are off by the ratio of the two divisors.
# So a student that sums windows (divisor_override=1) answers otherwise after its hand-over.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
environment/bin/python - <<'PROGRAM'
import contextlib
import io
import logging
import warnings

import onnxruntime
import torch
from torch import nn

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
pool = nn.AvgPool2d(2, divisor_override=1).eval()
images = torch.rand(1, 2, 8, 8) + 1
seen = {}
for dynamo in (True, False):
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(pool, (images,), "pool.onnx", dynamo=dynamo)
    session = onnxruntime.InferenceSession("pool.onnx", providers=["CPUExecutionProvider"])
    output = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])
    seen["dynamo" if dynamo else "script"] = round(float((pool(images) / output).mean()), 4)
known = {"dynamo": 4.0, "script": 4.0}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
