#!/usr/bin/env bash
# cross_entropy with class weights gives another value for one-hot targets than for the same class numbers.
#
# Versions: torch 2.13.0.
# Expected: a one-hot target is the class number written out, so the loss and its gradient are equal.
# Seen: for class numbers the mean is over the weights of the classes met, for probabilities over the images, so the two differ
# by the mean weight: five times here.
# So on a weighted set soft targets (a teacher's, mixup's) silently get another learning rate than labels; the ratio of the two
# terms of a distillation loss is not the one that was set.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import torch
from torch.nn.functional import cross_entropy, one_hot

torch.manual_seed(0)
logits, labels = torch.randn(8, 3), torch.tensor([0, 1, 2, 2, 2, 1, 0, 2])
weight = torch.tensor([1.0, 3.0, 8.0])
by_number = cross_entropy(logits, labels, weight=weight)
by_one_hot = cross_entropy(logits, one_hot(labels, 3).float(), weight=weight)
seen = {"ratio": round(float(by_one_hot / by_number), 4), "mean weight": float(weight[labels].mean()),
        "ratio without weights": round(float(cross_entropy(logits, one_hot(labels, 3).float()) / cross_entropy(logits, labels)), 4)}
known = {"ratio": 5.0, "mean weight": 5.0, "ratio without weights": 1.0}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
