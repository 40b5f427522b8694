"""An experiment tried on other images than those that it is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from automl_kd.config import Experiment, loads, stand_in_changes
from automl_kd.errors import ConfigError
from automl_kd.spec import TeacherSpec

IMAGENET = sorted(Path("benchmarks").glob("imagenet_*.toml"))


def tried(text: str, *overrides: str) -> Experiment:
    full = loads(text, overrides)
    found = loads(text, [*overrides, *stand_in_changes(full, "digits", Path("some.toml"))])
    assert isinstance(found, Experiment)
    return found


@pytest.mark.parametrize("file", IMAGENET, ids=lambda file: file.stem)
def test_every_imagenet_experiment_has_a_stand_in(file):
    found = tried(file.read_text())
    assert found.name == f"{file.stem}_stand_in"
    assert (found.data.name, found.data.resolution, found.data.train_images) == ("digits", 64, 200)
    assert (found.recipe.epochs, found.teacher.recipe.epochs, found.finalists.seeds) == (1, 1, (0,))
    assert (found.teacher.weights, found.teacher.checkpoint, found.expected_images) == ("", "", 0)
    assert (found.stand_in.images, found.stand_in.resolution, found.stand_in.seeds) == (1_281_167, 224, 3)
    assert found.stand_in.teacher_epochs == 0  # published weights
    assert found.published


def test_the_search_in_full_is_what_asha_lets_through():
    text = 'name = "some"\nspace = "search_spaces.resnet:SPACE"\n'
    settings = ["expected_images=1000", "search.trials=9", "recipe.epochs=9", "search.scheduler=asha"]
    found = tried(text, *settings)
    # 9 trials to epoch 1, 3 to epoch 3, 1 to epoch 9
    assert found.stand_in.search_epochs == 9 + 3 * 2 + 1 * 6
    assert found.search.trials == 2
    assert tried(text, *settings, "search.scheduler=none").stand_in.search_epochs == 81
    assert tried(text, *settings, "search.grace_epochs=20").stand_in.search_epochs == 81


def test_a_budget_shrinks_with_the_images():
    text = 'name = "some"\nspace = "search_spaces.resnet:SPACE"\nexpected_images = 10\n'
    found = tried(text, "data.resolution=128", "budget.macs=4_000_000")
    assert found.budget.macs == 1_000_000


def test_a_teacher_trained_here_is_forecast_too():
    found = tried('name = "some"\nspace = "model:resnet8"\n', "data.train_images=500", "teacher.recipe.epochs=7")
    assert (found.stand_in.teacher_epochs, found.stand_in.images) == (7, 500)


def test_a_place_may_have_any_name(tmp_path):
    place = tmp_path / 'my "best" images \\ é'
    place.mkdir()
    full = loads('name = "some"\nspace = "model:resnet8"\nexpected_images = 10\n')
    [change] = [one for one in stand_in_changes(full, str(place), Path("some.toml")) if one.startswith("data.name=")]
    assert loads('name = "some"\nspace = "model:resnet8"\n', [change]).data.name == f"folder:{place}"


def test_nothing_is_left_of_a_teacher_s_file():
    text = 'name = "some"\nspace = "search_spaces.resnet:SPACE"\nexpected_images = 10\n'
    teacher = """
    [teacher]
    model = "resnet20"
    checkpoint = "a.pt"
    resolution = 224
    classes = [1, 0]
    total_classes = 3
    preprocessing = { mean = [0.5], std = [0.5] }
    [[teacher.others]]
    model = "resnet8"
    checkpoint = "b.pt"
    """
    found = tried(f"{text}{teacher}", "data.unlabelled=folder:more")
    assert found.teacher == TeacherSpec(model="resnet20", recipe=found.teacher.recipe)
    assert found.data.unlabelled == ""


def test_without_the_number_of_images_nothing_can_be_forecast():
    with pytest.raises(ConfigError, match=r"some.toml does not say how many training images .* --set expected_images="):
        tried('name = "some"\nspace = "search_spaces.resnet:SPACE"\n')


@pytest.mark.parametrize(
    ("figure", "sentence"),
    [
        ('{ title = "x", accuracy = 0.71, source = "" }', "needs a source"),
        ('{ title = "x", accuracy = 0.71, source = "y" }', "must be percent, in 1 to 100, got 0.71"),
        ('{ title = " ", accuracy = 71, source = "y" }', "needs a title"),
        ('{ title = "x", accuracy = 71, source = "y", method = "kd" }', "nothing is compared here"),
    ],
)
def test_a_published_figure_says_what_it_is(figure, sentence):
    with pytest.raises(ConfigError, match=sentence):
        loads(f'name = "some"\nspace = "model:resnet8"\npublished = [{figure}]\n')


def test_a_published_figure_of_an_unknown_method():
    text = """
        name = "some"
        space = "model:resnet8"
        published = [{ title = "x", accuracy = 71, source = "y", method = "dist" }]
        [comparison]
        reference = "kd"
        [[comparison.methods]]
        name = "kd"
        method = "kd"
    """
    with pytest.raises(ConfigError, match="is of method 'dist'; known are kd"):
        loads(text)
