#!/usr/bin/env bash
# transformers 5 reads a BERT with relative positions and computes it without them.
#
# Versions: transformers 5.24.0, torch 2.14.1.
# Expected: position_embedding_type = "relative_key" in config.json, which BERTs had in transformers 4, gives attention a table of
# distances, or is refused as no longer known.
# Seen: the config keeps the word, the network has no such table, and its logits are those of absolute positions.
# The table in the weights is listed as unexpected, as are harmless leftovers of other releases.
# So an encoder that was trained with relative positions loads as a teacher and answers wrongly.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HF_HOME="$folder/hub" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.14.1 transformers==5.24.0 safetensors==0.8.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

torch.manual_seed(0)
sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
config = BertConfig(vocab_size=50, initializer_range=0.5, **sizes)
plain = BertForSequenceClassification(config).eval()
plain.save_pretrained("relative")
# As transformers 4 left such an encoder: the word in its config, and a table of distances in its weights.
record = json.loads(Path("relative/config.json").read_text())
Path("relative/config.json").write_text(json.dumps({**record, "position_embedding_type": "relative_key"}))
table = "bert.encoder.layer.0.attention.self.distance_embedding.weight"
weights = load_file("relative/model.safetensors")
save_file({**weights, table: torch.randn(1023, 8)}, "relative/model.safetensors", {"format": "pt"})

read, account = AutoModelForSequenceClassification.from_pretrained("relative", output_loading_info=True)
tokens = torch.tensor([[2, 7, 9, 11, 3]])
with torch.no_grad():
    same = torch.allclose(read.eval()(tokens).logits, plain(tokens).logits, atol=1e-5)
    turned = torch.allclose(read(tokens.flip(1)).logits, plain(tokens).logits, atol=1e-2)
seen = {
    "kind": getattr(read.config, "position_embedding_type", None),
    "tables of distances": sum("distance_embedding" in name for name, _ in read.named_modules()),
    "logits of absolute positions": same,
    "order makes no difference": turned,
    "unexpected": sorted(account["unexpected_keys"]),
    "missing": sorted(account["missing_keys"]),
}
known = {
    "kind": "relative_key",
    "tables of distances": 0,
    "logits of absolute positions": True,
    "order makes no difference": False,
    "unexpected": [table],
    "missing": [],
}

print(seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
