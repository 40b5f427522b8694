"""Encoders that the transformers package computes: their weights, positions and token types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from automl_kd.data.text.tokens import Tokenizer
from automl_kd.errors import ConfigError
from automl_kd.models import build_model
from automl_kd.models.text.bert import Bert
from automl_kd.models.text.other_encoder import OtherEncoder
from automl_kd.models.text.positions import position_limit
from automl_kd.models.text.segments import second_text
from automl_kd.models.weights.checkpoint import load_weights
from automl_kd.space import TextShape
from tests.data.text.words import write_tokenizer
from tests.models.text.families import family_of

SHAPE = TextShape(width=9, classes=3, vocabulary=60, padding=0, separator=3, longest=20)
CLASSIFIER = "ForSequenceClassification"
PAIR = torch.tensor([[2, 9, 8, 3, 7, 6, 5, 3, 0], [2, 9, 3, 7, 6, 3, 0, 0, 0]])


def rewrite(folder: Path, change: Any) -> Path:
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    return file


def older(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


@pytest.mark.parametrize("name", ["Roberta", "Electra", "DistilBert"])
def test_classifiers_that_earlier_releases_saved_are_read(tmp_path: Path, name: str) -> None:
    theirs = family_of(tmp_path, name, CLASSIFIER)
    body = theirs.base_model_prefix
    extra = {
        f"{body}.embeddings.position_ids": torch.arange(20)[None],
        f"{body}.pooler.dense.weight": torch.zeros(48, 48),
        f"{body}.pooler.dense.bias": torch.zeros(48),
    }
    file = rewrite(tmp_path, lambda state: {**{older(key): value for key, value in state.items()}, **extra})
    network = build_model(f"hf:{tmp_path}", SHAPE).eval()
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    load_weights(network, file)
    with torch.no_grad():
        expected = theirs(input_ids=PAIR, attention_mask=(PAIR != 0).long(), **types_for(network, PAIR)).logits
        assert torch.allclose(network(PAIR), expected, atol=1e-5)


def types_for(network: torch.nn.Module, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"token_type_ids": second_text(tokens, 3, 0)} if getattr(network, "numbers_texts", False) else {}


@pytest.mark.parametrize("name", ["DistilBert", "Roberta", "Albert", "DebertaV2"])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, name: str) -> None:
    family_of(tmp_path, name)
    torch.manual_seed(0)
    first = build_model(f"hf:{tmp_path}", SHAPE).state_dict()
    torch.manual_seed(1)
    again = build_model(f"hf:{tmp_path}", SHAPE).state_dict()
    assert {key for key in first if not torch.equal(first[key], again[key])} <= {
        key for key in first if "classifier" in key or "pooler" in key
    }
    rewrite(tmp_path, lambda state: {f"0.auto_model.{key}": value for key, value in state.items()})
    with pytest.raises(ConfigError, match=r"do not fit its config\.json: .* is missing; save the model anew"):
        build_model(f"hf:{tmp_path}", SHAPE)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    family_of(tmp_path, "DistilBert")
    table = "embeddings.word_embeddings.weight"
    rewrite(tmp_path, lambda state: {**state, table: state[table][:50].clone()})
    with pytest.raises(ConfigError, match=r"word_embeddings\.weight' is of another shape"):
        build_model(f"hf:{tmp_path}", SHAPE)


@pytest.mark.parametrize(
    ("name", "limit"), [("DistilBert", 24), ("Roberta", 23), ("Electra", 24), ("Albert", 24), ("DebertaV2", None)]
)
def test_texts_are_no_longer_than_its_positions(tmp_path: Path, name: str, limit: int | None) -> None:
    # RoBERTa's padding is token 0 here, and positions count from the one after it
    family_of(tmp_path, name, max_position_embeddings=24)
    shape = TextShape(width=9, classes=3, vocabulary=60, padding=0, separator=3, longest=limit or 40)
    network = build_model(f"hf:{tmp_path}", shape).eval()
    assert position_limit(network) == limit
    with torch.no_grad():
        network(torch.full((1, shape.longest), 9))
    if limit is not None:
        with pytest.raises((IndexError, RuntimeError)), torch.no_grad():
            network(torch.full((1, limit + 1), 9))
        longer = TextShape(width=9, classes=3, vocabulary=60, padding=0, separator=3, longest=limit + 1)
        with pytest.raises(ConfigError, match=f"at most {limit} tokens, .* set data.max_length to {limit} or less"):
            build_model(f"hf:{tmp_path}", longer)


@pytest.mark.parametrize("options", [{"hidden_act": "gelu_new"}, {"hidden_act": "relu"}, {"type_vocab_size": 1}])
def test_berts_that_depart_from_the_published_one_are_computed_by_transformers(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    theirs = family_of(tmp_path, "Bert", CLASSIFIER, **options)
    network = build_model(f"hf:{tmp_path}", SHAPE).eval()
    assert isinstance(network, OtherEncoder)
    with torch.no_grad():
        given = {"input_ids": PAIR, "attention_mask": (PAIR != 0).long(), **types_for(network, PAIR)}
        assert torch.allclose(network(PAIR), theirs(**given).logits, atol=1e-5)


def test_relative_positions_are_not_left_out(tmp_path: Path) -> None:
    family_of(tmp_path, "Bert")
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert isinstance(build_model(f"hf:{tmp_path}", SHAPE), Bert)
    record = json.dumps({**config, "position_embedding_type": "relative_key"})
    (tmp_path / "config.json").write_text(record, encoding="utf-8")
    with pytest.raises(ConfigError, match="positions of the kind 'relative_key', which"):  # transformers 5
        build_model(f"hf:{tmp_path}", SHAPE)


@pytest.mark.parametrize("name", ["Electra", "Albert"])
def test_pairs_have_token_types_where_the_family_knows_them(tmp_path: Path, name: str) -> None:
    theirs = family_of(tmp_path, name, CLASSIFIER)
    network = build_model(f"hf:{tmp_path}", SHAPE).eval()
    types = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1, 0, 0, 0]])
    with torch.no_grad():
        given = {"input_ids": PAIR, "attention_mask": (PAIR != 0).long()}
        expected = theirs(**given, token_type_ids=types).logits
        assert not torch.allclose(expected, theirs(**given).logits, atol=1e-2)
        assert torch.allclose(network(PAIR), expected, atol=1e-5)


def test_texts_of_a_pair_are_numbered_as_tokenizers_do() -> None:
    rows = {
        (2, 9, 3, 0, 0, 0, 0): (0, 0, 0, 0, 0, 0, 0),
        (2, 9, 3, 8, 3, 0, 0): (0, 0, 0, 1, 1, 0, 0),
        (2, 9, 3, 3, 0, 0, 0): (0, 0, 0, 1, 0, 0, 0),  # an empty second text
    }
    found = second_text(torch.tensor(list(rows)), 3, 0)
    assert found.tolist() == [list(row) for row in rows.values()]
    assert not second_text(torch.tensor(list(rows)), -1, 0).any()


def test_texts_of_pairs_between_two_separators_have_no_numbers(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    inner = tokenizers.Tokenizer.from_file(str(write_tokenizer(tmp_path / "tokenizer.json")))
    assert Tokenizer(tmp_path / "tokenizer.json", 20).separator == 3
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    inner.save(str(tmp_path / "touching.json"))  # as RoBERTa's
    assert Tokenizer(tmp_path / "touching.json", 20).separator == -1
