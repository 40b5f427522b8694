"""Python of the pages works: recipes train, imports and names of ours exist."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import sys
from typing import Any

import numpy as np
import pytest
import torch

from automl_kd.data import load_data
from automl_kd.errors import StopTrial
from automl_kd.losses.base import FeatureNames, Loss
from automl_kd.losses.weighted_sum import read_mix
from automl_kd.methods import run_trial
from automl_kd.models import build, load_space
from automl_kd.models.features import Outputs
from automl_kd.proxies.base import OfCost, ProxyEntry
from automl_kd.proxies.probe import make_probe
from automl_kd.proxies.score import score_architectures
from automl_kd.space import InputShape, SearchSpace, sample_architecture
from automl_kd.spec import DataSpec
from tests import tiny
from tests.docs.pages import PAGES, block_with, blocks, text_of

RECIPES = {
    "my_data": "def stripes",
    "my_losses": "class MeanMap",
    "my_methods": "class FadingKD",
    "my_models": "def linear",
}


def test_the_space_and_the_proxy_of_the_recipes_work():
    shape = InputShape(1, 8, 8, 3)
    names: dict[str, Any] = {}
    for content in ("SPACE =", "Entry("):
        exec(block_with("python", content), names)
    space, entry = names["SPACE"], names["DEPTH"]
    assert isinstance(space, SearchSpace)
    assert isinstance(entry, ProxyEntry)
    architecture = sample_architecture(space, np.random.default_rng(0))
    student = build(space, architecture, shape, seed=0)
    probe = make_probe(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]), shape)
    assert not isinstance(entry.proxy, OfCost)
    assert entry.proxy(student, probe) == architecture.as_dict()["depth"]
    (scored,) = score_architectures(space, [architecture], ["params"], [probe], seed=0)
    assert not scored.error


@pytest.fixture
def recipes(tmp_path, monkeypatch):
    """What the recipes define, in the modules that the page calls them by."""
    for module, content in RECIPES.items():
        (tmp_path / f"{module}.py").write_text(block_with("python", content), encoding="utf-8")
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(tmp_path)


def test_the_loss_of_the_recipe_trains_alone_and_in_the_sum_that_is_shown(tmp_path, recipes):
    (shown,) = re.findall(r'losses = "([^"]*my_losses[^"]*)"', text_of("docs/extending.md"))
    assert isinstance(shown_loss := read_mix(shown).parts[2].loss, Loss)
    assert shown_loss.features == FeatureNames(("stage2",), ("stage2",))
    losses = []
    for weight in (0.0, 1.0):
        spec = tiny.taught(tmp_path, "weighted_losses", options={"losses": f"my_losses:MeanMap={weight}, ce=1"})
        recorder = tiny.Recorder()
        run_trial(spec, recorder, tiny.place(tmp_path, spec))
        losses.append(recorder.seen[1]["train_loss"])
    assert losses[0] < losses[1]


def test_the_loss_of_the_recipe_by_hand(recipes):
    # channel means 2 and (5 + 3) / 2 = 4: their difference squared
    student, teacher = torch.full((1, 1, 2, 2), 2.0), torch.tensor([5.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    outputs = [Outputs(torch.zeros(1, 3), {"pre_pool": maps}) for maps in (student, teacher)]
    loss = importlib.import_module("my_losses").MeanMap()
    assert loss(*outputs, None)["mean_map"] == 4.0


def test_the_method_of_the_recipe_trains_and_continues(tmp_path, recipes):
    spec = tiny.taught(tmp_path, "my_methods:FadingKD")
    whole, broken = tiny.Recorder(), tiny.Recorder(stop=1)
    run_trial(spec, whole, dataclasses.replace(tiny.place(tmp_path, spec), trial=tmp_path / "whole"))
    with pytest.raises(StopTrial):
        run_trial(spec, broken, tiny.place(tmp_path, spec))
    run_trial(spec, again := tiny.Recorder(), tiny.place(tmp_path, spec))
    assert [one["train_loss"] for one in again.seen.values()] == [one["train_loss"] for one in whole.seen.values()]
    # 88 images; width 4: 36 weights at 64 places, 4 x 3 of the classifier; the teacher's width is 16
    assert whole.seen[3]["train_macs"] == 3 * 88 * (3 * (64 * 36 + 12) + 64 * 144 + 48)


def test_the_data_set_and_the_model_of_the_recipes_fit(tmp_path, recipes):
    dataset = load_data(DataSpec(name="my_data:stripes"), tmp_path)
    assert dataset.shape == InputShape(1, 8, 8, 3)
    # 300 images: a fifth is cut for test, then a tenth for validation
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [216, 24, 60]
    space = load_space("model:my_models:linear")
    student = build(space, sample_architecture(space, np.random.default_rng(0)), dataset.shape, seed=0)
    assert student(torch.rand(2, 1, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize(("page", "text"), [(page, text) for page in PAGES for text in blocks(page, "python")])
def test_what_python_imports_of_ours_exists(page, text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in {"automl_kd", "search_spaces"}:
            module = importlib.import_module(str(node.module))
            assert [one.name for one in node.names if not hasattr(module, one.name)] == []
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in {"automl_kd", "akd"}
        ):
            assert hasattr(importlib.import_module("automl_kd"), node.attr), node.attr
