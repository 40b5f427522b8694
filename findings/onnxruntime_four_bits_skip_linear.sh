#!/usr/bin/env bash
# onnxruntime's 4-bit quantiser leaves torch's linear layers as they are.
#
# Versions: onnxruntime 1.32.0, torch 2.13.0 (default exporter), onnx 1.23.2, onnxscript 0.7.2.
# Expected: MatMulNBitsQuantizer shrinks a network of linear layers to about an eighth.
# Seen: torch exports nn.Linear over a batch of vectors as Gemm, the quantiser looks for MatMul alone, and nothing changes; over
# sequences the same layer is exported as MatMul and is shrunk. The dynamic 8-bit quantiser takes both.
# So a quantised student is reported that is not quantised, with no loss of accuracy to wonder at.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 onnx-ir==1.1.0
environment/bin/python - <<'PROGRAM'
import contextlib
import io
import logging
import warnings

import onnx
import torch
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from torch import nn

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)


def quantised(shape):
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(nn.Sequential(nn.Linear(256, 256)).eval(), (torch.rand(shape),), "network.onnx")
    quantiser = MatMulNBitsQuantizer(onnx.load("network.onnx"))
    quantiser.process()
    model = quantiser.model.model
    return sorted({node.op_type for node in model.graph.node} - {"Add"}), len(model.SerializeToString()) < 100_000


seen = {"vectors": quantised((2, 256)), "sequences": quantised((2, 5, 256))}
known = {"vectors": (["Gemm"], False), "sequences": (["MatMulNBits"], True)}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
