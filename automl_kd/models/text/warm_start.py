"""A text student that begins with parts of its teacher.

Layers are taken as Sanh, Debut, Chaumond, Wolf (DistilBERT. 2019. arXiv:1910.01108) take every other one. How channels,
heads and words of a narrower student are chosen is our own construction, no paper's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.models.text.bert import Bert, EncoderLayer
from automl_kd.models.text.bilstm import Bilstm
from automl_kd.models.warm_start.started import WarmStart
from automl_kd.registry import name_type


@torch.no_grad()
def take_text_weights(student: Bert | Bilstm, trained: nn.Module) -> WarmStart:
    """Overwrite in place what `trained` has for the student. `ConfigError` if that is no `Bert`."""
    if not isinstance(trained, Bert):
        raise ConfigError(
            f"student.init: a text student begins with layers of a BERT, and the teacher is {name_type(trained)}; set "
            'student.init = "fresh"'
        )
    if isinstance(student, Bilstm):
        words, _ = narrowed_words(full_words(trained), student.words.embedding_dim)
        taken = [put(student.words.weight, words / words.std() * student.words.weight.std())]
        return WarmStart(sum(taken) / count_weights(student), ("words",))
    if student.plan.start == "fresh":
        return WarmStart(0.0, ())
    channels = widest_channels(trained, student.plan.width)
    taken = [*take_embeddings(student, trained, channels)]
    pairs = pair_layers(len(student.layers), len(trained.layers), student.plan.start)
    for own, theirs in pairs.items():
        taken += take_layer(student.layers[own], trained.layers[theirs], channels)  # type: ignore[arg-type]
    taken.append(put(student.classifier.weight, trained.classifier.weight[:, channels]))
    taken.append(put(student.classifier.bias, trained.classifier.bias))
    if student.pooler is not None and trained.pooler is not None:
        taken.append(put(student.pooler.weight, trained.pooler.weight[channels][:, channels]))
        taken.append(put(student.pooler.bias, trained.pooler.bias[channels]))
    return WarmStart(sum(taken) / count_weights(student), ("words", *(f"layers.{own}" for own in pairs)))


def count_weights(network: nn.Module) -> int:
    return sum(one.numel() for one in network.parameters())


def put(own: Tensor, theirs: Tensor) -> int:
    """Write the first rows and columns that both have; how many numbers that were."""
    place = tuple(slice(min(pair)) for pair in zip(own.shape, theirs.shape, strict=True))
    own[place] = theirs[place]
    return own[place].numel()


def full_words(trained: Bert) -> Tensor:
    """The teacher's words in as many channels as its layers have."""
    table: Tensor = trained.expand(trained.words.weight)
    return table


def widest_channels(trained: Bert, width: int) -> Tensor:
    """The `width` channels of its layers in which words differ most, in the order they have; all if there are fewer."""
    return full_words(trained).var(dim=0).argsort(descending=True, stable=True)[:width].sort().values


def narrowed_words(table: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Of (words, width) the nearest product of (words, channels) and (channels, width) by least squares, as both."""
    basis = torch.linalg.eigh((table.T @ table).double()).eigenvectors.flip(1)[:, :channels].to(table.dtype)
    return table @ basis, basis.T


def take_embeddings(student: Bert, trained: Bert, channels: Tensor) -> list[int]:
    words = full_words(trained)[:, channels]
    taken = []
    if isinstance(student.expand, nn.Linear):
        words, expand = narrowed_words(words, student.words.embedding_dim)
        taken.append(put(student.expand.weight, expand.T))
    return [
        *taken,
        put(student.words.weight, words),
        put(student.positions.weight, trained.positions.weight[:, channels]),
        put(student.segments.weight, trained.segments.weight[:, channels]),
        put(student.norm.weight, trained.norm.weight[channels]),
        put(student.norm.bias, trained.norm.bias[channels]),
    ]


def pair_layers(layers: int, of: int, start: str) -> dict[int, int]:
    """For each of the student's layers one of the teacher's, both from 0: the first, or evenly spaced with the last."""
    if start == "first":
        return {place: place for place in range(min(layers, of))}
    return {place: (place + 1) * of // layers - 1 for place in range(layers) if layers <= of}


def take_layer(own: EncoderLayer, theirs: EncoderLayer, channels: Tensor) -> list[int]:
    rows, heads = rows_of_heads(own, theirs)
    inner = (theirs.widen.weight.norm(dim=1) * theirs.narrow.weight.norm(dim=0)).argsort(descending=True, stable=True)
    inner = inner[: own.widen.out_features].sort().values
    taken = []
    for part, whole in zip(own.attention.qkv.weight.chunk(3), theirs.attention.qkv.weight.chunk(3), strict=True):
        taken.append(put_at(rows, part, whole[heads][:, channels]))
    for part, whole in zip(own.attention.qkv.bias.chunk(3), theirs.attention.qkv.bias.chunk(3), strict=True):
        taken.append(put_at(rows, part[:, None], whole[heads][:, None]))
    return [
        *taken,
        put_at(rows, own.attention.projection.weight.T, theirs.attention.projection.weight[channels][:, heads].T),
        put(own.attention.projection.bias, theirs.attention.projection.bias[channels]),
        put(own.attention_norm.weight, theirs.attention_norm.weight[channels]),
        put(own.attention_norm.bias, theirs.attention_norm.bias[channels]),
        put(own.widen.weight, theirs.widen.weight[inner][:, channels]),
        put(own.widen.bias, theirs.widen.bias[inner]),
        put(own.narrow.weight, theirs.narrow.weight[channels][:, inner]),
        put(own.narrow.bias, theirs.narrow.bias[channels]),
        put(own.norm.weight, theirs.norm.weight[channels]),
        put(own.norm.bias, theirs.norm.bias[channels]),
    ]


def put_at(rows: Tensor, own: Tensor, theirs: Tensor) -> int:
    """Write `theirs` (rows, columns) into these rows of `own`, in its first columns."""
    own[rows, : theirs.shape[1]] = theirs
    return theirs.numel()


def rows_of_heads(own: EncoderLayer, theirs: EncoderLayer) -> tuple[Tensor, Tensor]:
    """The student's rows of queries, keys and values that are taken over, and which of the teacher's they are: whole
    heads, the largest first, each into one of the student's, as far as both have channels in them.
    """
    width, size = theirs.attention.projection.in_features, own.attention.projection.in_features
    each, own_each = width // theirs.attention.heads, size // own.attention.heads
    norms = theirs.attention.projection.weight.norm(dim=0).view(theirs.attention.heads, each).norm(dim=1)
    chosen = norms.argsort(descending=True, stable=True)[: own.attention.heads].sort().values
    within = torch.arange(min(each, own_each))
    rows: Tensor = (torch.arange(len(chosen))[:, None] * own_each + within).flatten()
    heads: Tensor = (chosen[:, None] * each + within).flatten()
    return rows, heads
