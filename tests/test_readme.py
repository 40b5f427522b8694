"""What the README shows works: its Python is run, its TOML is read, its commands exist."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer

from automl_kd.cli import app
from automl_kd.config import loads
from automl_kd.errors import StopTrial
from automl_kd.losses.base import FeatureNames, Loss
from automl_kd.losses.weighted_sum import read_mix
from automl_kd.methods import run_trial
from automl_kd.methods.hyperparameters import methods_of, settle_comparison, settle_hyperparameters
from automl_kd.models import build
from automl_kd.models.features import Outputs
from automl_kd.proxies.base import OfCost, ProxyEntry
from automl_kd.proxies.probe import make_probe
from automl_kd.proxies.score import score_architectures
from automl_kd.space import InputShape, SearchSpace, sample_architecture
from tests import tiny

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def experiment_with(content: str) -> str:
    """The only block of TOML that has it."""
    (found,) = (one for one in blocks("toml") if content in one)
    return found


def test_the_experiment_is_read():
    text, searched, ways, workers = map(
        experiment_with, ('name = "mine"', "[hyperparameters]", "[comparison]", "workers = 4")
    )
    assert loads(text).name == "mine"
    assert loads(f'name = "many"\nspace = "my:SPACE"\n[teacher.recipe]\nbatch_size = 512\n{workers}').trial.workers == 4
    hyperparameters = loads(text + searched).hyperparameters
    settle_hyperparameters(hyperparameters, methods_of(hyperparameters, "kd"), {})
    comparison = loads(ways).comparison
    assert settle_comparison(comparison) == comparison


def test_the_space_and_the_proxy_of_the_recipes_work():
    shape = InputShape(1, 8, 8, 3)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        if "SPACE =" in block or "Entry(" in block:
            exec(block, names)
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
    """The loss and the method of the recipes, in the modules that the README calls them by."""
    for module, content in (("my_losses", "class MeanMap"), ("my_methods", "class FadingKD")):
        (block,) = (one for one in blocks("python") if content in one)
        (tmp_path / f"{module}.py").write_text(block, encoding="utf-8")
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(tmp_path)


def test_the_loss_of_the_recipe_trains_alone_and_in_the_sum_that_is_shown(tmp_path, recipes):
    (shown,) = re.findall(r'losses = "([^"]*my_losses[^"]*)"', README)
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


def test_every_command_exists():
    (group,) = app.registered_groups
    assert group.typer_instance is not None
    known = names_of(app) | {f"{group.name} {name}" for name in names_of(group.typer_instance)}
    assert set(re.findall(rf"automl-kd ((?:{group.name} )?[a-z][a-z0-9-]*)", README)) == known


def names_of(app: typer.Typer) -> set[str]:
    shown = [command for command in app.registered_commands if command.callback and not command.hidden]
    return {command.name or command.callback.__name__ for command in shown if command.callback}
