"""MiniLM's loss: against plain loops, on real encoders, padded in any way, of any widths, and where it is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from automl_kd.errors import ConfigError, UnknownNameError
from automl_kd.losses.base import Example
from automl_kd.losses.relations.minilm import MiniLM, count_heads, minilm_loss
from automl_kd.losses.weighted_sum import read_mix
from automl_kd.models import build_model
from automl_kd.models.features import FeatureExtractor, Outputs
from automl_kd.models.text.bert import Bert, BertPlan, MaskedAttention
from automl_kd.models.text.bilstm import Bilstm, BilstmPlan
from automl_kd.space import InputShape, TextShape
from tests.losses.outputs import batch, example

SHAPE = TextShape(width=9, classes=3, vocabulary=60, padding=0, separator=3, longest=30)
SIZES = (9, 2, 6, 1)
"""Tokens of each text."""


def encoder(width: int, heads: int, layers: int = 2, seed: int = 0, dropout: float = 0.0) -> Bert:
    """In float64, with weights that relate tokens unevenly."""
    torch.manual_seed(seed)
    plan = BertPlan(layers=layers, width=width, heads=heads, inner=8, positions=32, dropout=dropout)
    network = Bert(SHAPE, plan).double()
    for value in network.parameters():
        nn.init.normal_(value, std=0.6)
    return network.eval()


def tokens_of(length: int = 9) -> Tensor:
    torch.manual_seed(9)
    tokens = torch.randint(4, 60, (len(SIZES), length))
    for row, size in enumerate(SIZES):
        tokens[row, size:] = 0
    return tokens


def look(network: nn.Module, tokens: Tensor, *names: str) -> Outputs:
    with FeatureExtractor(network, names) as extractor:
        return extractor(tokens)


def attention_of(network: Bert, layer: int) -> MaskedAttention:
    found = network.layers[layer].attention
    assert isinstance(found, MaskedAttention)
    return found


def qkv_by_hand(network: Bert, layer: int, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(batch, tokens, width) each, from the layer's input and the three parts of its weight."""
    attention = attention_of(network, layer)
    caught: list[Tensor] = []
    handle = attention.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    network(tokens)
    handle.remove()
    weights, biases = attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3)
    q, k, v = (caught[0] @ weight.T + bias for weight, bias in zip(weights, biases, strict=True))
    return q, k, v


def row_of(vectors: Tensor, others: Tensor, token: int) -> list[float]:
    """softmax over tokens t of (vector of `token`) . (other of t) / sqrt(d)."""
    scores = [
        sum(float(a) * float(b) for a, b in zip(vectors[token], other, strict=True)) / math.sqrt(len(other))
        for other in others
    ]
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def by_loops(
    student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], heads: int, pairs: tuple[tuple[int, int], ...]
) -> float:
    """`student` and `teacher`: queries, keys and values, (batch, tokens, width)."""

    def divergences(text: int, size: int, first: int, second: int) -> Iterator[float]:
        for head in range(heads):
            rows = []
            for network in (student, teacher):
                part = network[0].shape[2] // heads
                a, b = (network[one][text, :size, head * part : (head + 1) * part] for one in (first, second))
                rows.append([row_of(a, b, token) for token in range(size)])
            for p, q in zip(*rows, strict=True):
                yield sum(t * math.log(t / s) for s, t in zip(p, q, strict=True))

    total = 0.0
    for first, second in pairs:
        for text, size in enumerate(SIZES):
            total += sum(divergences(text, size, first, second)) / (heads * size) / len(SIZES)
    return total


@pytest.mark.parametrize(
    ("relations", "pairs"),
    [("qq+kk+vv", ((0, 0), (1, 1), (2, 2))), ("vv", ((2, 2),)), ("qk+vv", ((0, 1), (2, 2)))],
)
@pytest.mark.parametrize("heads", [1, 3, 6])
@torch.no_grad()
def test_it_is_the_formula_written_in_loops(relations: str, pairs: tuple[tuple[int, int], ...], heads: int) -> None:
    student, teacher, tokens = encoder(12, 2), encoder(18, 3, layers=3, seed=1), tokens_of()
    found = MiniLM(stages="qkv:qkv2", relations=relations, relation_heads=heads)(
        look(student, tokens, "qkv"), look(teacher, tokens, "qkv2"), batch()
    )
    expected = by_loops(qkv_by_hand(student, 1, tokens), qkv_by_hand(teacher, 1, tokens), heads, pairs)
    assert expected > 1e-3
    assert found["minilm"].item() == pytest.approx(expected, rel=1e-10)


@torch.no_grad()
def test_queries_against_keys_are_the_attention_of_the_network() -> None:
    student, teacher, tokens = encoder(12, 3), encoder(18, 3, seed=1), tokens_of()
    one, two = look(student, tokens, "qkv", "attention2"), look(teacher, tokens, "qkv", "attention2")
    found = minilm_loss(one.features["qkv"], two.features["qkv"], "qk", 3)
    p, q = one.features["attention2"], two.features["attention2"]
    there = tokens != 0
    divergence = torch.where(q > 0, q * (q / p).log(), 0).sum(dim=3).mean(dim=1) * there
    torch.testing.assert_close(found, (divergence.sum(dim=1) / there.sum(dim=1)).mean())


def value_and_gradients(length: int) -> list[Tensor]:
    student, teacher, tokens = encoder(12, 2), encoder(18, 3, seed=1), tokens_of()
    tokens = torch.cat([tokens, tokens.new_zeros(len(tokens), length - tokens.shape[1])], dim=1)
    loss = MiniLM()(look(student, tokens, "qkv"), look(teacher, tokens, "qkv"), batch())["minilm"]
    loss.backward()
    gradients = [attention_of(student, 1).qkv.weight.grad, student.words.weight.grad]
    assert all(one.grad is None for one in teacher.parameters())
    return [loss.detach(), *(one for one in gradients if one is not None)]


def test_longer_padding_changes_neither_loss_nor_gradient() -> None:
    plain, longer = value_and_gradients(9), value_and_gradients(25)
    assert len(plain) == 3
    assert plain[0] > 1e-3
    for one, two in zip(plain, longer, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-10, atol=1e-12)


@torch.no_grad()
def test_what_stands_in_padding_says_nothing() -> None:
    one, two = (look(encoder(12, 2, seed=seed), tokens_of(), "qkv").features["qkv"] for seed in (0, 1))
    plain = minilm_loss(one, two, "qq+kk+vv", 2)
    noise = torch.randn_like(one) * (tokens_of() == 0)[:, None, :, None]
    assert noise.abs().max() > 1
    torch.testing.assert_close(minilm_loss(one + noise, two, "qq+kk+vv", 2), plain, rtol=1e-12, atol=0)


def test_equal_networks_have_no_loss_and_dropout_makes_some() -> None:
    tokens = tokens_of()
    student, teacher = encoder(12, 2, seed=1, dropout=0.5), encoder(12, 2, seed=1)
    same = MiniLM()(look(student, tokens, "qkv"), look(teacher, tokens, "qkv"), batch())["minilm"]
    assert same.abs() < 1e-12
    assert MiniLM()(look(student.train(), tokens, "qkv"), look(teacher, tokens, "qkv"), batch())["minilm"] > 1e-3


def test_a_network_that_is_looked_at_computes_the_same() -> None:
    network, tokens = encoder(12, 2), tokens_of()
    assert torch.equal(look(network, tokens, "qkv", "qkv1").logits, network(tokens))


@torch.no_grad()
def test_qkv_of_the_last_layer_has_its_number_too() -> None:
    seen = look(encoder(12, 2, layers=3), tokens_of(), "qkv", "qkv3", "qkv1").features
    assert torch.equal(seen["qkv"], seen["qkv3"])
    assert not torch.equal(seen["qkv"], seen["qkv1"])
    assert seen["qkv"].shape == (4, 36, 9, 1)


@pytest.mark.parametrize(
    ("student", "teacher", "heads"), [(384, 768, 48), (96, 384, 48), (40, 100, 20), (16, 32, 16), (7, 12, 1)]
)
def test_without_a_number_of_relation_heads_the_largest_that_fits_is_taken(
    student: int, teacher: int, heads: int
) -> None:
    assert count_heads(student, teacher, 0) == heads


def example_of(student: Outputs, teacher: Outputs) -> Example:
    return example(student, teacher)


def test_what_does_not_fit_is_refused() -> None:
    one, two = (look(encoder(width, 3), tokens_of(), "qkv") for width in (12, 18))
    with pytest.raises(ConfigError, match=r"relation_heads = 4 does not divide the widths, 12 .* 18 .* such as 6"):
        MiniLM(relation_heads=4).make(example_of(one, two))
    longer = look(encoder(12, 3), torch.nn.functional.pad(tokens_of(), (0, 3)), "qkv")
    with pytest.raises(ConfigError, match="got 9 of the student and 12 of the teacher; let both read the same tokens"):
        MiniLM().make(example_of(one, longer))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("minilm.stages=stage2", r"stages names \['stage2'\]; choose qkv"),
        ("minilm.relations=qq+kv+qq", "different pairs of q, k and v"),
        ("minilm.relations=qx", "pairs of q, k and v joined by '\\+', as in 'qq\\+kk\\+vv'; got 'qx'"),
        ("minilm.relation_heads=-1", "relation_heads must be 0 or more"),
    ],
)
def test_options_out_of_range_are_refused(options: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_mix(f"minilm=1, {options}")


@pytest.mark.parametrize(
    "network",
    [Bilstm(SHAPE, BilstmPlan(1, 8, 4)), build_model("resnet8", InputShape(3, 8, 8, 3))],
    ids=["bilstm", "resnet8"],
)
def test_a_network_without_self_attention_is_refused_in_one_sentence(network: nn.Module) -> None:
    with pytest.raises(UnknownNameError, match="'qkv' in this network, which shows no queries, keys and values of"):
        FeatureExtractor(network, read_mix("minilm=1").features.student)


def test_a_layer_that_an_encoder_lacks_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="no feature layer or module is called 'qkv7' in this network; did you"):
        FeatureExtractor(encoder(12, 2), ["qkv7"])
