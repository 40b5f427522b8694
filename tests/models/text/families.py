"""Folders as of Hugging Face with small encoders of other families than BERT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.data.text.words import write_tokenizer

LAYERS = {"num_hidden_layers": 2, "hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 96}
ROBERTA = {"type_vocab_size": 1, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
RELATIVE = {"relative_attention": True, "position_biased_input": False, "type_vocab_size": 0, "pooler_hidden_size": 48}
FAMILIES: dict[str, dict[str, Any]] = {
    "DistilBert": {"n_layers": 2, "dim": 48, "n_heads": 4, "hidden_dim": 96},
    "Roberta": {**LAYERS, **ROBERTA},
    "Electra": {**LAYERS, "embedding_size": 24},
    "Albert": {**LAYERS, "embedding_size": 24, "pad_token_id": 0},
    "DebertaV2": {**LAYERS, **RELATIVE, "pos_att_type": ["p2c", "c2p"]},
    "Bert": LAYERS,
}
"""Options of small ones, by the names of transformers' classes."""


def family_of(folder: Path, name: str, kind: str = "Model", **options: Any) -> Any:
    """Save an encoder (`kind` "Model") or a classifier ("ForSequenceClassification") with a tokenizer; return it."""
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    given = {"vocab_size": 60, "num_labels": 3, "initializer_range": 0.3, **FAMILIES[name], **options}
    made = getattr(transformers, f"{name}{kind}")(getattr(transformers, f"{name}Config")(**given)).eval()
    made.save_pretrained(folder)
    write_tokenizer(folder / "tokenizer.json")
    return made
