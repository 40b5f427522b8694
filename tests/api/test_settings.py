"""Settings of a Python call: each changes its own field alone, and a name is one wherever it may stand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import automl_kd
from automl_kd import experiment as stages
from automl_kd.compression.request import CompressRequest
from automl_kd.config import Experiment, Range
from automl_kd.errors import ConfigError
from automl_kd.experiment import Roots
from automl_kd.spec.named_recipes import named_recipe

akd: Any = automl_kd
TEACHER = {"model": "resnet20", "recipe": {"epochs": 7}}


@pytest.fixture
def asked(monkeypatch, tmp_path) -> Any:
    """What a call would carry out, and where, if it did."""
    found: list[tuple[Experiment, Roots]] = []

    def pretend(experiment, roots, _watcher, **_):
        found.append((experiment, roots))
        return SimpleNamespace(folder=roots.folder_of(experiment.name))

    monkeypatch.setattr(stages, "run_stages", pretend)
    return found


CALLS = {
    "search": lambda **given: akd.search("search_spaces.resnet:SPACE", "resnet20", **given),
    "distill": lambda **given: akd.distill("resnet8", "resnet20", epochs=30, **given),
    "compare": lambda **given: akd.compare("resnet8", "resnet20", methods=["kd", "scratch"], epochs=30, **given),
}


@pytest.mark.parametrize("recipe", [None, akd.Recipe(epochs=30)])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_recipe_leaves_the_other_alone(asked, tmp_path, call, recipe):
    given = {"recipe": recipe, "out": tmp_path / "mine", "progress": "none"}
    call(**given, settings={"teacher.recipe.epochs": 100})
    call(**given, settings={"recipe.epochs": 5})
    call(**given, settings={"recipe.lr": 0.5, "teacher.recipe.lr": 0.01})
    first, second, third = (experiment for experiment, _ in asked)
    assert (first.recipe.epochs, first.teacher.recipe.epochs) == (30, 100)
    assert (second.recipe.epochs, second.teacher.recipe.epochs) == (5, 30)
    assert (third.recipe.lr, third.teacher.recipe.lr) == (0.5, 0.01)


def test_so_it_does_where_a_compression_chooses():
    shared = {"epochs": 30}
    teacher = {"model": "resnet20", "recipe": shared}
    for override, epochs in (("teacher.recipe.epochs=100", (30, 100)), ("recipe.epochs=5", (5, 30))):
        request = CompressRequest(name="mine", teacher=teacher, data={"name": "digits"}, overrides=(override,))
        found = request.experiment({"space": "search_spaces.resnet:SPACE", "recipe": shared})
        assert (found.recipe.epochs, found.teacher.recipe.epochs) == epochs
        assert shared == {"epochs": 30}  # what is kept of the plan, and what a later session compares


def test_a_named_recipe_is_its_fields(asked, tmp_path, capsys):
    settings = {"recipe.name": "tv2", "recipe.batch_size": 256, "teacher.recipe.name": "classic"}
    akd.search("search_spaces.resnet:SPACE", "resnet20", out=tmp_path / "mine", settings=settings)
    akd.distill("resnet8", "resnet20", epochs=9, out=tmp_path / "one", settings={"recipe.name": "tv2"})
    (searched, _), (taught, _) = asked
    assert searched.recipe == named_recipe("tv2", batch_size=256)
    assert searched.teacher.recipe == named_recipe("classic")
    assert (taught.recipe.epochs, taught.recipe.policy) == (9, "trivial")
    assert "recipe.lr = 0.125: that of 'tv2' in proportion to batch_size = 256" in capsys.readouterr().out
    for wrong in ("tv3", ["tv2"]):
        with pytest.raises(ConfigError, match=r"search: recipe\.name: no recipe is called"):
            akd.search("search_spaces.resnet:SPACE", out=tmp_path / "mine", settings={"recipe.name": wrong})


def test_a_compression_takes_a_named_recipe_as_it_is():
    request = CompressRequest(name="mine", teacher=TEACHER, data={"name": "digits"}, overrides=("recipe.name=tv2",))
    found = request.experiment({"space": "search_spaces.resnet:SPACE", "recipe": {"epochs": 12}})
    assert (found.recipe.epochs, found.recipe.policy, found.recipe.lr) == (12, "trivial", 0.5)


def test_tables_in_tables_are_hyperparameters_with_dots(asked, tmp_path):
    nested = {"recipe": {"lr": [0.1, 0.2]}, "method": {"temperature": {"low": 1.0, "high": 8.0}}}
    akd.search("search_spaces.resnet:SPACE", out=tmp_path / "mine", settings={"hyperparameters": nested})
    ((found, _),) = asked
    assert found.hyperparameters == {"recipe.lr": (0.1, 0.2), "method.temperature": Range(low=1.0, high=8.0)}


def test_a_folder_of_any_name_keeps_it(asked, tmp_path):
    for name, called in (("My Results", "My-Results"), ("_old", "old"), ("mine.1", "mine.1")):
        result = akd.search("search_spaces.resnet:SPACE", out=tmp_path / name, progress="none")
        experiment, roots = asked[-1]
        assert experiment.name == called
        assert result.folder == roots.folder_of(called) == tmp_path / name
    for name in ("\u7d50\u679c", "x" * 120):
        assert akd.search("search_spaces.resnet:SPACE", out=tmp_path / name, progress="none").folder == tmp_path / name
    with pytest.raises(ConfigError, match="the folder of that name is shared by all experiments"):
        akd.search("search_spaces.resnet:SPACE", out=tmp_path / "teachers")


def test_a_name_that_is_made_is_never_too_long(asked, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = [f"timm:{'mobilenetv3_small' * 3}.lamb_in1k_{number}" for number in (1, 2)]
    for name in names:
        akd.distill(name, "timm:convnextv2_base.fcmae_ft_in22k_in1k_384", progress="none")
    (first, roots), (second, _) = asked
    assert len(first.name) == len(second.name) == 100
    assert first.name != second.name
    assert roots.folder_of(first.name) == Path("results").absolute() / first.name
