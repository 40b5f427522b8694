"""Text encoders: against transformers, their costs, and that padding says nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from automl_kd.errors import ConfigError
from automl_kd.models import build, build_model
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.features import FeatureExtractor
from automl_kd.models.text.bert import Bert, BertPlan
from automl_kd.models.text.bilstm import Bilstm, BilstmPlan
from automl_kd.models.text.warm_start import narrowed_words, pair_layers, take_text_weights
from automl_kd.space import InputShape, SearchSpace, TextShape, read_shape, sample_architecture
from search_spaces import bert, bilstm

SHAPE = TextShape(width=9, classes=3, vocabulary=60, padding=0, separator=3, longest=20)
PLAN = BertPlan(layers=3, width=24, heads=4, inner=48, positions=32)


def made(plan: BertPlan = PLAN, shape: TextShape = SHAPE, seed: int = 0) -> Bert:
    torch.manual_seed(seed)
    network = Bert(shape, plan)
    for name, value in network.named_parameters():  # as after training, when no bias is zero
        nn.init.normal_(value, mean=float("norm.weight" in name), std=0.3)
    return network.eval()


def tokens_of(count: int = 5, pair: bool = False) -> torch.Tensor:
    torch.manual_seed(1)
    tokens = torch.randint(4, 60, (count, 9))
    for row in range(count):
        tokens[row, 4 + row % 5] = 3
        tokens[row, 5 + row % 5 :] = 0
    if pair:
        tokens[:, 2] = 3
    return tokens


@pytest.mark.parametrize("space", [bert.SPACE, bilstm.SPACE], ids=lambda space: space.name)
def test_costs_are_those_of_the_built_networks(space: SearchSpace) -> None:
    assert space.cost is not None
    rng = np.random.default_rng(0)
    for _ in range(6):
        point = sample_architecture(space, rng)
        network = build(space, point, SHAPE, seed=0)
        counted = count_cost(network, SHAPE)
        assert space.cost(point.as_dict(), SHAPE) == (counted.params, counted.macs)


@pytest.mark.parametrize("network", [made(), Bilstm(SHAPE, BilstmPlan(2, 16, 12)).eval()], ids=["bert", "bilstm"])
def test_padding_says_nothing(network: nn.Module) -> None:
    tokens = tokens_of()
    longer = torch.cat([tokens, torch.zeros(5, 7, dtype=torch.int64)], dim=1)
    with torch.no_grad():
        together = network(tokens)
        assert torch.allclose(network(longer), together, atol=1e-5)
        alone = torch.cat([network(row[None, : 5 + place]) for place, row in enumerate(tokens)])
    assert torch.allclose(alone, together, atol=1e-5)
    assert (together.std(dim=0) > 1e-3).all()


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("classifier", [False, True])
def test_outputs_are_those_of_transformers(tmp_path: Path, pair: bool, classifier: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    torch.manual_seed(2)
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=32, num_labels=3, initializer_range=0.3,
    )  # fmt: skip
    kind = transformers.BertForSequenceClassification if classifier else transformers.BertModel
    theirs = kind(config).eval()
    theirs.save_pretrained(tmp_path)
    network = build_model(f"hf:{tmp_path}", SHAPE).eval()
    tokens = tokens_of(pair=pair)
    separators = (tokens == 3).long()
    second = ((separators.cumsum(1) - separators) == 1).long() * (tokens != 0)
    with torch.no_grad():
        found = theirs(input_ids=tokens, attention_mask=(tokens != 0).long(), token_type_ids=second)
        if classifier:
            assert torch.allclose(network(tokens), found.logits, atol=1e-5)
            return
        outputs = FeatureExtractor(network, ["stage3", "attention2"])(tokens)
    there = (tokens != 0).float()
    expected = (found.last_hidden_state * there[:, :, None]).transpose(1, 2)[..., None]
    assert torch.allclose(outputs.features["stage3"], expected, atol=1e-5)
    assert outputs.features["attention2"].shape == (5, 4, 9, 9)


def test_attention_that_is_looked_at_is_the_same_attention() -> None:
    network, tokens = made(), tokens_of()
    with torch.no_grad():
        plain = network(tokens)
        with FeatureExtractor(network, ["attention1", "attention3"]) as looking:
            seen = looking(tokens)
    assert torch.allclose(seen.logits, plain, atol=1e-5)
    weights = seen.features["attention1"]
    assert torch.allclose(weights.sum(dim=-1), torch.ones(5, 4, 9), atol=1e-5)
    assert not weights[tokens[:, None, None, :].expand_as(weights) == 0].any()


def test_a_whole_student_begins_as_its_teacher() -> None:
    teacher, student = made(seed=3), made(seed=4)
    taken = take_text_weights(student, teacher)
    assert taken.share == 1
    with torch.no_grad():
        assert torch.equal(student(tokens_of()), teacher(tokens_of()))


def test_layers_are_the_first_or_evenly_spaced() -> None:
    assert pair_layers(2, 6, "first") == {0: 0, 1: 1}
    assert pair_layers(2, 6, "every-other") == {0: 2, 1: 5}
    assert pair_layers(3, 6, "every-other") == {0: 1, 1: 3, 2: 5}
    assert pair_layers(4, 3, "first") == {0: 0, 1: 1, 2: 2}
    teacher = made(seed=3)
    student = made(BertPlan(layers=1, width=24, heads=4, inner=48, positions=32, start="every-other"), seed=4)
    take_text_weights(student, teacher)
    assert student.get_parameter("layers.0.widen.weight").equal(teacher.get_parameter("layers.2.widen.weight"))


@pytest.mark.parametrize("width", [12, 24])
def test_a_narrower_student_takes_whole_heads_and_the_same_channels_everywhere(width: int) -> None:
    teacher = made(seed=3)
    student = made(BertPlan(layers=2, width=width, heads=width // 6, inner=30, embedding=8, positions=16), seed=4)
    taken = take_text_weights(student, teacher)
    assert taken.share > 0.95
    channels = teacher.words.weight.var(dim=0).argsort(descending=True)[:width].sort().values
    assert torch.equal(student.norm.weight, teacher.norm.weight[channels])
    theirs = teacher.get_parameter("layers.1.norm.bias")
    assert student.get_parameter("layers.1.norm.bias").equal(theirs[channels])


def test_each_head_is_taken_into_one_of_the_students_where_those_are_larger() -> None:
    teacher, plan = made(seed=3), BertPlan(layers=1, width=24, heads=2, inner=48, positions=32)
    student, before = made(plan, seed=4), made(plan, seed=4)
    take_text_weights(student, teacher)
    norms = teacher.get_parameter("layers.0.attention.projection.weight").norm(dim=0).view(4, 6).norm(dim=1)
    one, two = (6 * head for head in norms.argsort(descending=True)[:2].sort().values.tolist())  # of 6 channels each
    for own, theirs in ((0, one), (12, two)):  # of 12 channels each
        for part in (0, 24, 48):  # queries, keys, values
            for name in ("qkv.weight", "qkv.bias"):
                found, taken = (net.get_parameter(f"layers.0.attention.{name}") for net in (student, teacher))
                assert torch.equal(found[part + own :][:6], taken[part + theirs :][:6])
                fresh = before.get_parameter(f"layers.0.attention.{name}")
                assert torch.equal(found[part + own + 6 :][:6], fresh[part + own + 6 :][:6])
        found, taken = (net.get_parameter("layers.0.attention.projection.weight") for net in (student, teacher))
        assert torch.equal(found[:, own : own + 6], taken[:, theirs : theirs + 6])


def test_factorised_words_are_the_nearest_of_their_rank() -> None:
    table = torch.randn(50, 4) @ torch.randn(4, 16)
    words, expand = narrowed_words(table, 4)
    assert torch.allclose(words @ expand, table, atol=1e-4)
    words, expand = narrowed_words(table, 3)
    least = torch.linalg.svdvals(table)[3]
    assert torch.linalg.norm(table - words @ expand).item() == pytest.approx(least.item(), rel=1e-3)


def test_a_recurrent_student_begins_with_its_teachers_words() -> None:
    student = Bilstm(SHAPE, BilstmPlan(1, 16, 12))
    assert take_text_weights(student, made()).layers == ("words",)
    with pytest.raises(ConfigError, match="begins with layers of a BERT, and the teacher is"):
        take_text_weights(student, nn.Linear(2, 2))


def test_shapes_are_read_back_from_their_records() -> None:
    from dataclasses import asdict

    assert read_shape(asdict(SHAPE)) == SHAPE
    images = InputShape(3, 8, 8, 2)
    assert read_shape(asdict(images)) == images


def test_images_are_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="takes texts, and the data are images"):
        bert.SPACE.build(bert.SPACE.default, InputShape(3, 8, 8, 2))
