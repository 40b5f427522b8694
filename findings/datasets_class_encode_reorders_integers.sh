#!/usr/bin/env bash
# class_encode_column renumbers labels that are integers already.
#
# Versions: datasets 5.2.0.
# Expected: the labels 0 to 11 stay 0 to 11.
# Seen: they are sorted as texts ("0", "1", "10", "11", "2", ...), so 2 becomes 4 and 10 becomes 2.
# So a teacher trained before the call answers in other numbers than the labels after it: of twelve classes ten are wrong.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HF_HOME="$folder/hub" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile datasets==5.2.0
environment/bin/python - <<'PROGRAM'
from datasets import Dataset, disable_progress_bars

disable_progress_bars()
rows = Dataset.from_dict({"label": list(range(12))}).class_encode_column("label")
seen = list(rows["label"])
known = [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3]

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
