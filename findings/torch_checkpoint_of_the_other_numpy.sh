#!/usr/bin/env bash
# A numpy number in a checkpoint can be allowed by torch.load only under the numpy series that saved it.
#
# Versions: torch 2.13.0, numpy 1.26.4 and 2.4.6.
# Expected: after add_safe_globals of numpy's functions (what the error's text advises), {"accuracy": np.float64(0.5)} loads.
# Seen: that holds for a file saved under the same series. numpy 2 renamed numpy.core to numpy._core, and the names are compared
# as texts: the old file stays refused under numpy 2 until the function is listed with its old name beside it.
# So a training script's checkpoint with its best accuracy inside is refused for its weights, and the advice does not help.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import os
import subprocess
import sys

save = """
import numpy, torch
torch.save({"weights": torch.ones(2), "accuracy": numpy.float64(0.5)}, numpy.__version__ + ".pt")
"""
older = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", "older", "numpy==1.26.4"]
subprocess.run(older, check=True)
for path in ("older", ""):
    subprocess.run([sys.executable, "-c", save], env={**os.environ, "PYTHONPATH": path}, check=True)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy._core.multiarray import scalar  # noqa: E402

types = [np.dtype, type(np.dtype(np.float64))]


def loads(path, allowed):
    with torch.serialization.safe_globals(allowed):
        try:
            return float(torch.load(path)["accuracy"])
        except Exception as error:
            return type(error).__name__


renamed = [(scalar, "numpy.core.multiarray.scalar")]
seen = {
    version: (loads(f"{version}.pt", []), loads(f"{version}.pt", [scalar, *types]), loads(f"{version}.pt", [*renamed, *types]))
    for version in ("1.26.4", "2.4.6")
}
known = {"1.26.4": ("UnpicklingError", "UnpicklingError", 0.5), "2.4.6": ("UnpicklingError", 0.5, "UnpicklingError")}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
