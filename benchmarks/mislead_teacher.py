"""Makes a good teacher partly wrong: `python -m benchmarks.mislead_teacher TEACHER.pt OUT.pt [--classes 0 1]`.

The outputs of some classes change places, each with the next of them: two of ten are 20 % of the classes. TEACHER.pt is
what a search leaves below results/teachers, of a network that ends with a linear layer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from automl_kd import files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("teacher", type=Path, help="weights of the good teacher")
    parser.add_argument("out", type=Path, help="where those of the wrong one go")
    parser.add_argument("--classes", type=int, nargs="+", default=[0, 1], help="which change places (default: 0 1)")
    options = parser.parse_args()
    weights = torch.load(options.teacher, map_location="cpu", weights_only=True)
    own, others = options.classes, [*options.classes[1:], options.classes[0]]
    for name in list(weights)[-2:]:  # weight and bias of the last layer
        weights[name][own] = weights[name][others].clone()
    with files.replacing(options.out) as scratch:
        torch.save(weights, scratch)


if __name__ == "__main__":
    main()
