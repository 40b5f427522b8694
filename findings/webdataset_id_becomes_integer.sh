#!/usr/bin/env bash
# webdataset's default decoder turns a field called "id" into an integer.
#
# Versions: webdataset 1.0.2.
# Expected: a field `id`, which TarWriter writes as text, comes back as that text.
# Seen: decode() treats id as it treats cls, the label: "0007" comes back as the integer 7. A text that is no number
# raises an error, though the same package wrote it.
# So sample names that tie a teacher's stored outputs to images lose their zeros and match nothing, or another sample.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --no-compile webdataset==1.0.2 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import webdataset

with webdataset.TarWriter("samples.tar") as writer:
    writer.write({"__key__": "a", "id": "0007", "name.txt": "0007"})
    writer.write({"__key__": "b", "id": "cat-7"})
seen = {}
rows = iter(webdataset.WebDataset("samples.tar", shardshuffle=False).decode())
seen["a"] = {name: value for name, value in next(rows).items() if not name.startswith("__")}
try:
    seen["b"] = next(rows)["id"]
except Exception as error:
    seen["b"] = type(error).__name__
known = {"a": {"id": 7, "name.txt": "0007"}, "b": "DecodingError"}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
