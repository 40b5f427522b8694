"""Named recipes: fields of a source under those that are written beside the name, stored resolved."""

from __future__ import annotations

import pytest

from automl_kd.config import loads
from automl_kd.config.experiment import Experiment
from automl_kd.errors import ConfigError
from automl_kd.spec import Recipe
from automl_kd.spec.named_recipes import NAMED_RECIPES, named_recipe


def read(text: str, *overrides: str) -> tuple[Experiment, list[str]]:
    said: list[str] = []
    found = loads('name = "a"\nspace = "search_spaces.resnet:SPACE"\n' + text, overrides, say=said.append)
    assert isinstance(found, Experiment)
    return found, said


@pytest.mark.parametrize("name", NAMED_RECIPES)
def test_a_name_is_its_fields(name):
    found, said = read(f'[recipe]\nname = "{name}"')
    assert found.recipe == named_recipe(name)
    assert found.recipe != Recipe()
    assert said == []
    assert found.teacher.recipe == Recipe()


@pytest.mark.parametrize("name", NAMED_RECIPES)
def test_every_recipe_names_its_source_and_what_is_ours(name):
    entry = NAMED_RECIPES[name]
    assert len(entry.source.split()) > 3
    assert entry.ours
    assert f"lr = {entry.fields['lr']:g}" in entry.line


def test_what_is_written_beside_the_name_wins():
    found, said = read(
        '[recipe]\nname = "tv2"\nepochs = 30\nlr = 0.2\nbatch_size = 256\n[teacher.recipe]\nname = "classic"'
    )
    assert (found.recipe.epochs, found.recipe.lr, found.recipe.batch_size) == (30, 0.2, 256)
    assert (found.recipe.policy, found.recipe.repeats) == ("trivial", 4)
    assert found.teacher.recipe == named_recipe("classic")
    assert said == []


def test_a_batch_size_without_a_rate_scales_the_rate_and_says_so():
    found, said = read("", "recipe.name=rsb-a3", "recipe.batch_size=256")
    assert found.recipe.lr == pytest.approx(1e-3)
    (sentence,) = said
    assert sentence.endswith(
        "recipe.lr = 0.001: that of 'rsb-a3' in proportion to batch_size = 256; write lr to have another"
    )
    assert found.recipe == named_recipe("rsb-a3", batch_size=256)


def test_a_name_that_there_is_not_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"recipe\.name: no recipe is called 'rsb-a2'; did you mean 'rsb-a3'\?"):
        read('[recipe]\nname = "rsb-a2"')
    with pytest.raises(ConfigError, match=r"unknown key 'recipe\.polcy'; did you mean 'recipe\.policy'|'policy'"):
        read('[recipe]\nname = "tv2"\npolcy = "rand"')


def test_the_rates_of_averages_are_those_of_torchvisions_script():
    # 1 - min(1, (1 - 0.99998) * 1 GPU * 1024 images * 32 steps / 600 epochs)
    assert named_recipe("tv2").ema == pytest.approx(1 - (1 - 0.99998) * 1024 * 32 / 600)
