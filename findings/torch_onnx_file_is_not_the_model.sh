#!/usr/bin/env bash
# A small network's .onnx file lacks its weights, keeps its author's source lines, and may be of another opset than asked for.
#
# Versions: torch 2.13.0 (default exporter), onnx 1.23.2, onnxscript 0.7.2.
# Expected: a network of 66 thousand weights fits into one file; opset 13 is written or refused; the file holds the network alone.
# Seen: all larger weights lie in NAME.onnx.data beside it, even when they are a few KB; opset_version=13 silently gives 18 (17
# is honoured); the nodes' metadata hold the paths and lines of the Python source that made them.
# So "model size" taken from the .onnx is a few KB, the copied file does not load alone, an old runtime refuses it, and the
# receiver reads the sender's folder names.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2
environment/bin/python - <<'PROGRAM'
import contextlib
import io
import logging
import os
import warnings

import onnx
import torch
from torch import nn

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
with open("private_network.py", "w") as file:
    file.write(
        "from torch import nn\n\n\n"
        "class Network(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Linear(256, 256)\n\n"
        "    def forward(self, x):\n"
        "        return self.layer(x).relu()  # a private remark\n"
    )
import sys  # noqa: E402

sys.path.insert(0, ".")
from private_network import Network  # noqa: E402


def export(name, **options):
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(Network().eval(), (torch.rand(1, 256),), name, **options)
    return onnx.load(name, load_external_data=False)


model = export("network.onnx")
metadata = str([node.metadata_props for node in model.graph.node])
seen = {
    "weights outside": os.path.getsize("network.onnx") < 20_000 < os.path.getsize("network.onnx.data"),
    "opset asked and got": {asked: export("other.onnx", opset_version=asked).opset_import[0].version for asked in (13, 17, 18)},
    "source line": "a private remark" in metadata,
    "source path": "private_network.py" in metadata,
}
known = {"weights outside": True, "opset asked and got": {13: 18, 17: 17, 18: 18}, "source line": True, "source path": True}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
