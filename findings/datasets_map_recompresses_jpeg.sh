#!/usr/bin/env bash
# A map() that only looks at a JPEG column compresses every JPEG again, at lower quality.
#
# Versions: datasets 5.2.0, pillow 13.0.0.
# Expected: a column that the function does not change keeps its bytes.
# Seen: once row["image"] was read, the column is stored as a new JPEG of Pillow's default quality: about half the bytes, and
# pixels that differ by tens of levels; even where the function returns nothing but a new column. filter() keeps the bytes, and
# so does a map() whose input_columns leave the image out.
# So adding a width column changes the images that teacher and student are compared on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HF_HOME="$folder/hub" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import io

import numpy as np
from datasets import Dataset, Features, Value, disable_progress_bars
from datasets import Image as ImageColumn
from PIL import Image

disable_progress_bars()
noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
buffer = io.BytesIO()
Image.fromarray(noise).save(buffer, "JPEG", quality=95)
column = {"image": [{"bytes": buffer.getvalue(), "path": None}], "number": [1]}
rows = Dataset.from_dict(column, features=Features({"image": ImageColumn(), "number": Value("int64")}))


def stored(dataset):
    return dataset.cast_column("image", ImageColumn(decode=False))[0]["image"]["bytes"]


def look(row):
    row["width"] = row["image"].width
    return row


looked = rows.map(look)
change = np.asarray(looked[0]["image"]).astype(int) - np.asarray(rows[0]["image"])
print("bytes", len(stored(rows)), "then", len(stored(looked)), "largest change of a pixel", abs(change).max())
seen = {
    "row returned": stored(looked) == stored(rows),
    "pixels far off": bool(abs(change).max() > 30),
    "new column alone": stored(rows.map(lambda row: {"width": row["image"].width})) == stored(rows),
    "not looked at": stored(rows.map(lambda number: {"twice": 2 * number}, input_columns=["number"])) == stored(rows),
    "filter": stored(rows.filter(lambda row: row["image"].width > 0)) == stored(rows),
}
known = {"row returned": False, "pixels far off": True, "new column alone": False, "filter": True, "not looked at": True}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
