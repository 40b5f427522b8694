"""Transformer encoders of texts as BERT.

Devlin, Chang, Lee, Toutanova. BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding. 2018.
arXiv:1810.04805; with word embeddings of fewer channels than the layers have, and one matrix between, as in Lan, Chen,
Goodman, Gimpel, Sharma, Soricut. ALBERT. 2019. arXiv:1909.11942, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.models.features import FeatureLayer
from automl_kd.models.text.pooling import mean_of_tokens
from automl_kd.models.text.segments import second_text
from automl_kd.space import TextShape

SEGMENTS = 2
"""Texts of a pair."""

LAYER_STARTS = ("first", "every-other", "fresh")
"""Which of its teacher's layers a student begins with, where it begins with any: the first ones, or evenly spaced."""


@dataclass(frozen=True)
class BertPlan:
    """`inner`: channels inside a layer's perceptron. `embedding`: of a word, 0 for as many as layers have.

    `positions`: the longest text. `pool`: "mean" gives the classifier the mean of the tokens, "first" the first one
    through a layer with tanh, as published. `start`: of `LAYER_STARTS`. `dropout`: in training.
    `eps`: of normalisations.
    """

    layers: int
    width: int
    heads: int
    inner: int
    embedding: int = 0
    positions: int = 512
    pool: str = "mean"
    start: str = "first"
    dropout: float = 0.1
    eps: float = 1e-12


class HiddenMap(nn.Module):
    """Hidden states (batch, tokens, channels) as a map (batch, channels, tokens, 1), zero where there is padding."""

    def forward(self, states: Tensor, there: Tensor) -> Tensor:
        return (states * there[:, :, None]).transpose(1, 2)[..., None]


def has_listener(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


class MaskedAttention(nn.Module):
    def __init__(self, plan: BertPlan) -> None:
        super().__init__()
        self.heads, self.dropout = plan.heads, plan.dropout
        self.qkv = nn.Linear(plan.width, 3 * plan.width)
        self.projection = nn.Linear(plan.width, plan.width)
        self.weights = nn.Identity()  # (batch, heads, tokens, tokens) passes through it where somebody listens
        self.shown = HiddenMap()  # likewise of queries, keys and values, (batch, 3 * width, tokens, 1)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        together = self.qkv(x)
        if has_listener(self.shown):
            self.shown(together, seen[:, 0, 0])
        queries, keys, values = together.view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if has_listener(self.weights):
            scores = (queries @ keys.transpose(-2, -1)) * (width // self.heads) ** -0.5
            found = self.weights(scores.masked_fill(~seen, -torch.inf).softmax(dim=-1))
            found = F.dropout(found, self.dropout, self.training) @ values
        else:
            dropout = self.dropout if self.training else 0.0
            found = F.scaled_dot_product_attention(queries, keys, values, seen, dropout_p=dropout)
        made: Tensor = self.projection(found.transpose(1, 2).reshape(batch, tokens, width))
        return made


class EncoderLayer(nn.Module):
    def __init__(self, plan: BertPlan) -> None:
        super().__init__()
        self.attention = MaskedAttention(plan)
        self.attention_norm = nn.LayerNorm(plan.width, eps=plan.eps)
        self.widen = nn.Linear(plan.width, plan.inner)
        self.narrow = nn.Linear(plan.inner, plan.width)
        self.norm = nn.LayerNorm(plan.width, eps=plan.eps)
        self.dropout = nn.Dropout(plan.dropout)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        x = self.attention_norm(x + self.dropout(self.attention(x, seen)))
        made: Tensor = self.norm(x + self.dropout(self.narrow(F.gelu(self.widen(x)))))
        return made


class Bert(nn.Module):
    """The encoder of a plan with a classifier. Tokens int64 (batch, length) in, logits out; padding is not looked at.

    Feature layers: `stem`, the embeddings, and `stage1` to `stageN`, the hidden states after each layer, as maps
    (batch, channels, tokens, 1); `attention1` to `attentionN`, (batch, heads, tokens, tokens); `qkv1` to `qkvN`, and
    `qkv` for the last, queries, keys and values of all heads as maps (batch, 3 * width, tokens, 1); `pre_pool`, the
    last map; `pooled`.
    """

    def __init__(self, shape: TextShape, plan: BertPlan) -> None:
        super().__init__()
        self.plan, self.padding, self.separator = plan, shape.padding, shape.separator
        embedding = plan.embedding or plan.width
        self.words = nn.Embedding(shape.vocabulary, embedding)
        self.expand = nn.Linear(embedding, plan.width, bias=False) if embedding != plan.width else nn.Identity()
        self.positions = nn.Embedding(plan.positions, plan.width)
        self.segments = nn.Embedding(SEGMENTS, plan.width)
        self.norm = nn.LayerNorm(plan.width, eps=plan.eps)
        self.dropout = nn.Dropout(plan.dropout)
        self.layers = nn.ModuleList(EncoderLayer(plan) for _ in range(plan.layers))
        self.pooler = nn.Linear(plan.width, plan.width) if plan.pool == "first" else None
        self.classifier = nn.Linear(plan.width, shape.classes)
        self.maps = nn.ModuleList(HiddenMap() for _ in range(plan.layers + 1))
        stages = range(1, plan.layers + 1)
        self.feature_layers = {
            "stem": FeatureLayer("maps.0"),
            **{f"stage{stage}": FeatureLayer(f"maps.{stage}") for stage in stages},
            **{f"stage{stage}.pre": FeatureLayer(f"maps.{stage}") for stage in stages},
            **{f"attention{stage}": FeatureLayer(f"layers.{stage - 1}.attention.weights") for stage in stages},
            **{f"qkv{stage}": FeatureLayer(f"layers.{stage - 1}.attention.shown") for stage in stages},
            "qkv": FeatureLayer(f"layers.{plan.layers - 1}.attention.shown"),
            "pre_pool": FeatureLayer(f"maps.{plan.layers}"),
            "pooled": FeatureLayer("classifier", "input"),
        }
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        there = tokens != self.padding
        x = self.expand(self.words(tokens)) + self.positions.weight[: tokens.shape[1]]
        x = self.dropout(self.norm(x + self.segments(second_text(tokens, self.separator, self.padding))))
        self.maps[0](x, there)  # for whoever listens, as below
        seen = there[:, None, None, :]
        for layer, as_map in zip(self.layers, self.maps[1:], strict=True):
            x = layer(x, seen)
            as_map(x, there)
        pooled = mean_of_tokens(x, there) if self.pooler is None else self.pooler(x[:, 0]).tanh()
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits


def bert_cost(shape: TextShape, plan: BertPlan) -> tuple[int, int]:
    """Parameters, and multiply-adds for a text of the stated length, of the `Bert` of this plan."""
    width, tokens, embedding = plan.width, shape.width, plan.embedding or plan.width
    expand = embedding * width if embedding != width else 0
    tables = shape.vocabulary * embedding + (plan.positions + SEGMENTS) * width
    layer = 4 * width**2 + 2 * width * plan.inner
    pooler = width**2 if plan.pool == "first" else 0
    params = tables + expand + 2 * width + plan.layers * (layer + 4 * width + plan.inner + width + 4 * width)
    params += (pooler + width if pooler else 0) + (width + 1) * shape.classes
    macs = tokens * (expand + plan.layers * (layer + 2 * tokens * width)) + pooler + width * shape.classes
    return params, macs
