"""Encoders of texts in folders of Hugging Face: config.json, weights and tokenizer.json.

The family of BERT (MiniLM, E5, BGE and others of `model_type` "bert") becomes a `Bert` of ours, whose layers losses and
warm starts know; any other, and a BERT that departs from the published one, is a network of the transformers package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from automl_kd import files
from automl_kd.errors import ConfigError, FileError
from automl_kd.models.text.bert import SEGMENTS, Bert, BertPlan
from automl_kd.models.text.other_encoder import EARLIER, other_encoder
from automl_kd.space import TextShape
from automl_kd.spec import HUGGING_FACE
from automl_kd.storage.content_hash import PIN, located_path, pin

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")

LAYER_NAMES = (
    (r"(?:bert\.)?embeddings\.word_embeddings", "words"),
    (r"(?:bert\.)?embeddings\.position_embeddings", "positions"),
    (r"(?:bert\.)?embeddings\.token_type_embeddings", "segments"),
    (r"(?:bert\.)?embeddings\.LayerNorm", "norm"),
    (r"(?:bert\.)?encoder\.layer\.(\d+)\.attention\.output\.dense", r"layers.\1.attention.projection"),
    (r"(?:bert\.)?encoder\.layer\.(\d+)\.attention\.output\.LayerNorm", r"layers.\1.attention_norm"),
    (r"(?:bert\.)?encoder\.layer\.(\d+)\.intermediate\.dense", r"layers.\1.widen"),
    (r"(?:bert\.)?encoder\.layer\.(\d+)\.output\.dense", r"layers.\1.narrow"),
    (r"(?:bert\.)?encoder\.layer\.(\d+)\.output\.LayerNorm", r"layers.\1.norm"),
    (r"(?:bert\.)?pooler\.dense", "pooler"),
    (r"classifier", "classifier"),
)
"""Layers of BERT as transformers names them, and as `Bert` does."""

STACKED = re.compile(r"(?:bert\.)?encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)\.(weight|bias)")
"""Three layers that are one of `Bert`."""


def read_text_config(folder: Path) -> dict[str, Any] | None:
    """The folder's config.json if it describes a network that takes tokens, else None."""
    try:
        found = files.read_json(folder / "config.json")
    except (FileError, OSError):
        return None
    return found if isinstance(found, dict) and "vocab_size" in found else None


def find_weights(folder: Path) -> Path:
    """The file of weights in a folder of a model."""
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(f"{folder} has neither {' nor '.join(WEIGHT_FILES)}; save the model with its weights")


def pin_encoder(name: str) -> str:
    """`name`, hf:FOLDER of an encoder of texts, with the content hash of its weights; another one as it is.

    Weights are where such a network begins, so they are part of what it is.
    """
    if not name.startswith(HUGGING_FACE) or PIN.search(name):
        return name
    folder = files.expand(name.removeprefix(HUGGING_FACE)).absolute()
    config = read_text_config(folder)
    return name if config is None or classifies(config) else f"{HUGGING_FACE}{pin(str(find_weights(folder)))}"


def encoder_folder(name: str) -> Path:
    """The folder that hf:NAME stands for, whose weights are those that were pinned, if they were."""
    return located_path(name).parent if PIN.search(name) else Path(name)


def classifies(config: Mapping[str, Any]) -> bool:
    """Whether the folder's network has a trained classifier of texts."""
    return any(str(one).endswith("ForSequenceClassification") for one in config.get("architectures") or ())


def output_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Of a network that classifies."""
    names = config.get("id2label") or {}
    return tuple(str(names.get(str(place), place)) for place in range(len(names)))


def build_encoder(folder: Path, shape: TextShape) -> nn.Module:
    """The folder's encoder with its weights, and a classifier, which is drawn unless its own has as many classes.

    `ConfigError` if there are no such weights, or the texts were written by a tokenizer of another vocabulary.
    """
    config = read_text_config(folder)
    if config is None:
        raise ConfigError(f"{folder} holds no network that takes texts; give the folder of a saved encoder")
    if shape.vocabulary > config["vocab_size"]:
        raise ConfigError(
            f"data.tokenizer has {shape.vocabulary:,} tokens, and {folder} knows {config['vocab_size']:,}; name the "
            "tokenizer.json of that folder"
        )
    if not as_published(config):
        return other_encoder(folder, shape)
    network = bert_of(folder, config, shape)
    state = with_our_names(read_state(folder))
    head = state.get("classifier.weight")
    if head is None or len(head) != shape.classes:
        own = network.state_dict()
        state |= {name: own[name] for name in ("classifier.weight", "classifier.bias")}
    load_exactly(network, state, folder)
    return network


def as_published(config: Mapping[str, Any]) -> bool:
    """Whether `Bert` computes what the folder's network does."""
    published = {"hidden_act": "gelu", "type_vocab_size": SEGMENTS, "position_embedding_type": "absolute"}
    return config.get("model_type") == "bert" and all(config.get(name, one) == one for name, one in published.items())


def bert_of(folder: Path, config: Mapping[str, Any], shape: TextShape) -> Bert:
    """With drawn weights. Its state may be loaded under transformers' names, too."""
    plan = BertPlan(
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        inner=config["intermediate_size"],
        positions=config["max_position_embeddings"],
        pool="first" if classifies(config) else "mean",
        dropout=config.get("hidden_dropout_prob", 0.1),
        eps=config.get("layer_norm_eps", 1e-12),
    )
    if shape.longest > plan.positions:
        raise ConfigError(f"{folder} takes at most {plan.positions} tokens, and data.max_length is more; lower it")
    widened = TextShape(
        width=shape.width,
        classes=shape.classes,
        vocabulary=config["vocab_size"],
        padding=shape.padding,
        separator=shape.separator,
        longest=shape.longest,
    )
    network = Bert(widened, plan)
    network.register_load_state_dict_pre_hook(take_published_names)  # type: ignore[no-untyped-call]  # torch's
    return network


def take_published_names(_model: nn.Module, state: dict[str, Tensor], *_: object) -> None:
    if any("word_embeddings" in name for name in state):
        ours = with_our_names(state)
        state.clear()
        state.update(ours)


def with_our_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a published BERT by the names of `Bert`; what that lacks, such as heads of pre-training, is left
    out.
    """
    ours: dict[str, Tensor] = {}
    for name, value in state.items():
        layer, _, parameter = name.rpartition(".")
        parameter = EARLIER.get(parameter, parameter)
        for pattern, own in LAYER_NAMES:
            if (match := re.fullmatch(pattern, layer)) is not None:
                ours[f"{match.expand(own)}.{parameter}"] = value
        if (match := STACKED.fullmatch(name)) and match[2] == "query":
            parts = [state[name.replace(".query.", f".{one}.")] for one in ("query", "key", "value")]
            ours[f"layers.{match[1]}.attention.qkv.{match[3]}"] = torch.cat(parts)
    return ours


def load_exactly(network: Bert, state: dict[str, Tensor], folder: Path) -> None:
    own = network.state_dict()
    if missing := sorted(own.keys() - state.keys()):
        raise ConfigError(f"the weights in {folder} lack {missing[0]!r} and {len(missing) - 1} others; save it anew")
    if other := [name for name in own if own[name].shape != state[name].shape]:
        raise ConfigError(
            f"the weights in {folder} have {other[0]!r} of shape {tuple(state[other[0]].shape)}, and its config.json "
            f"asks for {tuple(own[other[0]].shape)}; save it anew"
        )
    network.load_state_dict({name: state[name] for name in own})


def read_state(folder: Path) -> dict[str, Tensor]:
    file = find_weights(folder)
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file  # noqa: PLC0415 - not needed where there are no such files

        return load_file(file)
    found: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return found
