"""What is searched on texts while it is killed: small encoders, whose teacher, a folder's, is fine-tuned first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from automl_kd.training import loop
from tests.data.text.subject import SPACE as SMALL
from tests.data.text.subject import texts_below

# Every epoch leaves a checkpoint, so that a kill may hit one and a trial has something to continue from.
loop.SAVE_SECONDS = 0.0

SPACE = SMALL

EXPERIMENT = """
name = "{name}"
space = "tests.faults.texts:SPACE"
method = "kd"
data = {{ name = "{data}", tokenizer = "{tokenizer}" }}
teacher = {{ model = "hf:{teacher}", recipe = {{ name = "bert", epochs = 20, batch_size = 16, lr = 1e-3 }} }}
recipe = {{ name = "bert", epochs = 3, batch_size = 16, lr = 2e-3 }}
finalists = {{ seeds = [0], count = 1, readings = ["compute"], baseline = {{ width = 12 }} }}
trial = {{ device = "cpu", max_concurrent = 1, retries = 50, checkpoint_minutes = 1e-6 }}

[search]
sampler = "evolution"
options = {{ population = 3, tournament = 2 }}
trials = 5
scheduler = "asha"
grace_epochs = 2
reduction = 1.5
proxy_filter = ["grad_norm"]
pool = 3
"""


def write_experiment(root: Path, name: str) -> str:
    """Its file; texts and teacher lie below `root` afterwards."""
    data, teacher = texts_below(root), root / "encoder"
    if not teacher.exists():
        write_encoder(teacher)
    table = data.name.removeprefix("text:")
    return EXPERIMENT.format(
        name=name, data=data.name, tokenizer=Path(table).parent / "tokenizer.json", teacher=teacher
    )


def write_encoder(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(5)
    config = transformers.BertConfig(
        vocab_size=44, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=24,
        max_position_embeddings=512,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
