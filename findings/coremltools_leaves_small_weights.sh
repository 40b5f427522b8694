#!/usr/bin/env bash
# coremltools' compression leaves every tensor of up to 2,048 weights as it is.
#
# Versions: coremltools 9.0 with scikit-learn 1.9.1, torch 2.13.0, on Linux.
# Expected: linear_quantize_weights and palettize_weights shrink a small student as they do a large one.
# Seen: of a network of 14 channels (largest tensor 1,764 weights) not a byte is saved, by 8 bits or by 4; with 16 channels
# (2,304 weights) the files shrink. The threshold is an option of the operators' configurations, not of the call.
# So the smallest students, the ones a search is after, are reported as "8 bits, no loss" and are float16.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6 coremltools==9.0 scikit-learn==1.9.1
environment/bin/python - <<'PROGRAM'
import logging
import os
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
import coremltools  # noqa: E402
import coremltools.optimize.coreml as optimize  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402


def weight_bytes(model, name):
    model.save(f"{name}.mlpackage")
    return sum(
        os.path.getsize(os.path.join(folder, file))
        for folder, _, files in os.walk(f"{name}.mlpackage")
        for file in files
        if file == "weight.bin"
    )


def sizes(width):
    layers = nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3)
    traced = torch.jit.trace(nn.Sequential(*layers).eval(), torch.rand(1, 3, 8, 8))
    inputs = [coremltools.TensorType(shape=(1, 3, 8, 8))]
    model = coremltools.convert(traced, inputs=inputs, minimum_deployment_target=coremltools.target.iOS16)
    eight = optimize.OptimizationConfig(optimize.OpLinearQuantizerConfig(mode="linear_symmetric"))
    four = optimize.OptimizationConfig(optimize.OpPalettizerConfig(nbits=4))
    return (
        weight_bytes(model, f"{width}"),
        weight_bytes(optimize.linear_quantize_weights(model, eight), f"{width}-eight"),
        weight_bytes(optimize.palettize_weights(model, four), f"{width}-four"),
    )


seen = {}
for width in (14, 16):
    plain, eight, four = sizes(width)
    print("channels", width, "bytes", plain, eight, four)
    seen[width] = {"8 bits": eight < plain, "4 bits": four < plain}
known = {14: {"8 bits": False, "4 bits": False}, 16: {"8 bits": True, "4 bits": True}}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
