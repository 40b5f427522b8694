"""Logistic regression on texts, beside teachers of several families."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from automl_kd.data import Dataset, load_data
from automl_kd.experiment.stages.text_baselines import POOLED, pooled_features, shows_pooled
from automl_kd.models import build_model
from automl_kd.models.features import list_feature_layers
from automl_kd.spec import DataSpec
from tests.data.text.words import write_set
from tests.models.text.families import family_of


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("texts")
    table = write_set(root / "set", count=60)
    return load_data(DataSpec(name=f"text:{table}", tokenizer=str(table.parent / "tokenizer.json")), root)


@pytest.mark.parametrize("name", ["DistilBert", "Roberta", "Albert"])
def test_features_are_the_mean_of_the_last_hidden_states(tmp_path: Path, dataset: Dataset, name: str) -> None:
    theirs = family_of(tmp_path, name)
    network = build_model(f"hf:{tmp_path}", dataset.shape).eval()
    assert shows_pooled(network, dataset)
    found = torch.from_numpy(pooled_features(network, dataset, dataset.test))
    tokens = dataset.test.tokens_at(torch.arange(len(dataset.test)))
    there = (tokens != 0).float()
    with torch.no_grad():
        states = theirs(input_ids=tokens, attention_mask=there.long()).last_hidden_state
    expected = (states * there[..., None]).sum(1) / there.sum(1, keepdim=True)
    assert (expected.std(0) > 1e-3).any()
    assert torch.allclose(found, expected, atol=1e-4)
    assert POOLED in list_feature_layers(network)


def test_a_network_without_them_is_left_out(dataset: Dataset) -> None:
    assert not shows_pooled(nn.Sequential(nn.Embedding(44, 3), nn.Flatten(1)), dataset)
