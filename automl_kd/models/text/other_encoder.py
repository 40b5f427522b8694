"""Encoders of texts that the transformers package computes: all but the family of BERT, and what departs from it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.models.features import FeatureLayer
from automl_kd.models.foreign.packages import library
from automl_kd.models.text.bert import SEGMENTS, has_listener
from automl_kd.models.text.pooling import mean_of_tokens
from automl_kd.models.text.positions import position_limit
from automl_kd.models.text.segments import second_text
from automl_kd.space import TextShape

EARLIER = {"gamma": "weight", "beta": "bias"}
"""Names of parameters in files of 2018."""

BUFFERS = ("position_ids", "token_type_ids")
"""Counts that files of earlier releases hold among the weights."""

RELATIVE = "distance_embedding"
"""Layer of BERT's relative positions, which later releases of transformers compute without."""


class OtherEncoder(nn.Module):
    """A classifier of the transformers package. Tokens int64 (batch, length) in, logits out.

    Feature layer: `pooled`, the mean of a text's last hidden states.
    """

    def __init__(self, network: nn.Module, shape: TextShape) -> None:
        super().__init__()
        self.network, self.padding, self.separator = network, shape.padding, shape.separator
        segments: Any = getattr(network.config, "type_vocab_size", 0)
        self.numbers_texts = segments == SEGMENTS and "token_type_ids" in inspect.signature(network.forward).parameters
        self.shown = nn.Identity()  # `pooled` passes through it where somebody listens
        self.feature_layers = {"pooled": FeatureLayer("shown")}
        self.register_load_state_dict_pre_hook(take_earlier_names)  # type: ignore[no-untyped-call]  # torch's

    def forward(self, tokens: Tensor) -> Tensor:
        there = tokens != self.padding
        given: dict[str, Any] = {"input_ids": tokens, "attention_mask": there.long()}
        if self.numbers_texts:
            given["token_type_ids"] = second_text(tokens, self.separator, self.padding)
        looked_at = has_listener(self.shown)
        found = self.network(**given, output_hidden_states=looked_at)
        if looked_at and found.get("hidden_states"):  # those with a decoder return none of this name
            self.shown(mean_of_tokens(found.hidden_states[-1], there))
        logits: Tensor = found.logits
        return logits


def take_earlier_names(model: nn.Module, state: dict[str, Tensor], *_: object) -> None:
    """A load hook: `state` as today's network has it, of a file that an earlier release saved."""
    own = model.state_dict().keys()
    for name in [name for name in state if name not in own]:
        layer, last = name.rpartition(".")[::2]
        if (today := f"{layer}.{EARLIER.get(last, last)}") in own:
            state[today] = state.pop(name)
        elif last in BUFFERS or "pooler" in layer.split("."):
            del state[name]


def other_encoder(folder: Path, shape: TextShape) -> nn.Module:
    """The folder's network with its weights; only its classifier may be drawn. `ConfigError` if they do not fit."""
    transformers = library("transformers", "transformers")
    options = {"num_labels": shape.classes, "local_files_only": True, "ignore_mismatched_sizes": True}
    made, account = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, **options, output_loading_info=True
    )
    require_all_weights(folder, made.base_model_prefix, account)
    require_known_positions(folder, made)
    limit = position_limit(made)
    if limit is not None and shape.longest > limit:
        raise ConfigError(
            f"{folder} takes at most {limit} tokens, and the longest text has {shape.longest}; set data.max_length to "
            f"{limit} or less"
        )
    return OtherEncoder(made.float(), shape)


def require_all_weights(folder: Path, body: str, account: Mapping[str, Iterable[Any]]) -> None:
    """`ConfigError` unless the file had all but the classifier, and a pooler, which lies before it.

    `body`: what names in the encoder itself begin with. `account`: of `from_pretrained`.
    """
    other = [one if isinstance(one, str) else one[0] for one in account["mismatched_keys"]]
    for name in sorted([*account["missing_keys"], *other]):
        if name.startswith(f"{body}.") and "pooler" not in name.split("."):
            wrong = "of another shape" if name in other else "missing"
            raise ConfigError(
                f"the weights in {folder} do not fit its config.json: {name!r} is {wrong}; save the model anew"
            )


def require_known_positions(folder: Path, network: nn.Module) -> None:
    config: Any = network.config
    kind = str(getattr(config, "position_embedding_type", "absolute"))
    if kind.startswith("relative_key") and not any(RELATIVE in name for name, _ in network.named_modules()):
        raise ConfigError(
            f"{folder} has positions of the kind {kind!r}, which the installed transformers computes without; take an "
            "encoder with absolute ones, or a release of transformers before 5"
        )
