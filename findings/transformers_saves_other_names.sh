#!/usr/bin/env bash
# transformers 5 saves a ViT under other names than its state dict has.
#
# Versions: transformers 5.24.0, torch 2.14.1.
# Expected: model.safetensors holds model.state_dict(), as it does for a ResNet, and can be loaded by load_state_dict.
# Seen: all tensors of the attention have names of transformers 4 in the file; load_state_dict refuses it. from_pretrained
# translates on the way in, save_pretrained on the way out.
# So tools that read the file, compare its names with the network's, or load it into a network built from its config, fail for
# the families that were renamed and work for others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HF_HOME="$folder/hub" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.14.1 transformers==5.24.0 safetensors==0.8.0 numpy==2.4.6
environment/bin/python - <<'PROGRAM'
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification, ResNetConfig, ViTConfig

narrow = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32, "patch_size": 16}
seen = {}
for name, config in (
    ("resnet", ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic")),
    ("vit", ViTConfig(num_hidden_layers=1, **narrow)),
):
    network = AutoModelForImageClassification.from_config(config)
    network.save_pretrained(name)
    saved, own = load_file(f"{name}/model.safetensors").keys(), network.state_dict().keys()
    print(name, "only in the file:", sorted(saved - own)[:2], "only in the network:", sorted(own - saved)[:2])
    seen[name] = saved == own
known = {"resnet": True, "vit": False}

print("equal names:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM
