"""Recurrent students: a bidirectional LSTM over word embeddings.

Hochreiter, Schmidhuber. Long Short-Term Memory. Neural Computation, 1997; Graves, Schmidhuber. Framewise phoneme
classification with bidirectional LSTM. Neural Networks, 2005. One layer, embeddings and states of 300 channels and
dropout 0.4 are those of the second student in ProKT's code (Shi et al. 2021. arXiv:2107.09305).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from automl_kd.models.features import FeatureLayer
from automl_kd.models.text.bert import HiddenMap
from automl_kd.space import TextShape


@dataclass(frozen=True)
class BilstmPlan:
    """`embedding`: channels of a word; `hidden`: of a state in each direction. `dropout`: in training."""

    layers: int = 1
    embedding: int = 300
    hidden: int = 300
    dropout: float = 0.4


class Bilstm(nn.Module):
    """Tokens int64 (batch, length) in, logits out. A text is the largest of each channel over its tokens' states.

    Feature layers: `stem`, the embeddings, and `stage1`, the last states, as maps (batch, channels, tokens, 1);
    `pooled`.
    """

    def __init__(self, shape: TextShape, plan: BilstmPlan) -> None:
        super().__init__()
        self.plan, self.padding = plan, shape.padding
        self.words = nn.Embedding(shape.vocabulary, plan.embedding)
        self.dropout = nn.Dropout(plan.dropout)
        self.lstm = nn.LSTM(
            plan.embedding,
            plan.hidden,
            plan.layers,
            batch_first=True,
            bidirectional=True,
            dropout=plan.dropout if plan.layers > 1 else 0.0,
        )
        self.classifier = nn.Linear(2 * plan.hidden, shape.classes)
        self.maps = nn.ModuleList([HiddenMap(), HiddenMap()])
        self.feature_layers = {
            "stem": FeatureLayer("maps.0"),
            **dict.fromkeys(("stage1", "stage1.pre", "pre_pool"), FeatureLayer("maps.1")),
            "pooled": FeatureLayer("classifier", "input"),
        }
        nn.init.normal_(self.words.weight, std=0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        there = tokens != self.padding
        words = self.dropout(self.words(tokens))
        self.maps[0](words, there)  # for whoever listens, as below
        states = self.states(words, there)
        self.maps[1](states, there)
        largest = states.masked_fill(~there[:, :, None], -torch.inf).amax(dim=1)
        logits: Tensor = self.classifier(self.dropout(largest))
        return logits

    def states(self, words: Tensor, there: Tensor) -> Tensor:
        """(batch, tokens, 2 * hidden). The backward direction begins at a text's own end."""
        if torch.compiler.is_exporting() or words.is_meta:  # where lengths, by which texts are packed, are no numbers
            return self.turned_states(words, there)
        packed = pack_padded_sequence(words, there.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False)
        found, _ = self.lstm(packed)
        return pad_packed_sequence(found, batch_first=True, total_length=words.shape[1])[0]

    def turned_states(self, words: Tensor, there: Tensor) -> Tensor:
        """The same from two forward passes, one of each text turned around within its own length.

        No state follows from padding, which comes after all that is read; states at padding are others.
        """
        places = torch.arange(words.shape[1], device=words.device)
        turned = torch.where(there, there.sum(dim=1, keepdim=True) - 1 - places, places)[:, :, None]
        for layer in range(self.plan.layers):
            ahead = self.read_once(words, f"l{layer}")
            index = turned.expand(-1, -1, words.shape[2])
            back = self.read_once(words.gather(1, index), f"l{layer}_reverse")
            words = torch.cat([ahead, back.gather(1, turned.expand(-1, -1, self.plan.hidden))], dim=2)
        return words

    def read_once(self, words: Tensor, direction: str) -> Tensor:
        """(batch, tokens, hidden): from left to right by the weights of `direction`, such as "l0_reverse"."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [getattr(self.lstm, f"{name}_{direction}") for name in names]
        start = torch.zeros((1, words.shape[0], self.plan.hidden), device=words.device, dtype=words.dtype)
        states: Tensor = torch.lstm(words, (start, start), weights, True, 1, 0.0, False, False, True)[0]
        return states


def bilstm_cost(shape: TextShape, plan: BilstmPlan) -> tuple[int, int]:
    """Parameters, and multiply-adds for a text of the stated length, of the `Bilstm` of this plan."""
    params, macs, given = shape.vocabulary * plan.embedding, 0, plan.embedding
    for _ in range(plan.layers):
        matrices = 2 * 4 * plan.hidden * (given + plan.hidden)
        params += matrices + 2 * 8 * plan.hidden
        macs += matrices * shape.width
        given = 2 * plan.hidden
    return params + (2 * plan.hidden + 1) * shape.classes, macs + 2 * plan.hidden * shape.classes
