"""The arithmetic behind the measured ratios, and that what is measured is a method's own trial."""

import torch

from automl_kd.methods.kd import PlainKD
from automl_kd.spec import Recipe
from benchmarks.perf.alternation import Comparison, alternate, markdown, quartiles, ratios
from benchmarks.perf.distpro import peak_bytes
from benchmarks.perf.standing import Scene, together
from benchmarks.perf.streaming import recipe_step


def test_ratios_are_formed_within_a_round():
    # rounds: 2/1, 6/2, 8/8
    spent = {"new": [2.0, 6.0, 8.0], "old": [1.0, 2.0, 8.0]}
    assert ratios(spent, Comparison("new", "old")) == [2.0, 3.0, 1.0]
    # inclusive quartiles of 1, 2, 3: halfway between neighbours
    assert quartiles([2.0, 3.0, 1.0]) == (1.5, 2.0, 2.5)
    assert "| new | old | 1.70 | 2.000 | 1.500 to 2.500 | 3 |" in markdown(spent, [Comparison("new", "old", 1.7)])


def test_steps_are_taken_in_turn_and_summed_by_round():
    seen = []
    turns = {name: lambda number, name=name: seen.append((name, number)) for name in "ab"}
    spent = alternate(turns, rounds=2, block=2, warm=1)
    # three rounds of two steps, every second turn backwards; the first round does not count
    forwards, backwards = ("a", "b"), ("b", "a")
    wanted = [(name, number) for number in range(6) for name in (forwards if number % 2 else backwards)]
    assert seen == wanted
    assert [len(seconds) for seconds in spent.values()] == [2, 2]


def test_peak_memory_counts_what_lies_there_at_once():
    def step():
        one, two = torch.empty(3000), torch.empty(1000)
        del one
        return torch.empty(2000), two

    # 4 bytes a number: 3000 + 1000 at once, then 1000 + 2000
    assert peak_bytes(step) == 4 * 4000


def test_a_standing_trial_trains_as_the_loop_does():
    recipe = Recipe(epochs=2, batch_size=16)
    scene = Scene(student="resnet8", teacher="resnet8", recipe=recipe, images=200)

    def then(standing):
        stepped, looped = (one.run for one in standing.values())
        for number in range(stepped.steps):
            standing["stepped"].step(number)
        loss = looped.train_epoch(standing["looped"].objective, epoch=1)
        assert 0 < loss < 100
        pairs = zip(stepped.student.state_dict().values(), looped.student.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)

    together(scene, {"stepped": PlainKD(), "looped": PlainKD()}, then)


def test_steps_of_a_recipe_train_the_same_network_on_other_views():
    dataset, made = recipe_step.noise(32, 32), recipe_step.recipes(8)
    spent = alternate(
        {name: recipe_step.stepper("resnet8", dataset, recipe) for name, recipe in made.items()}, rounds=2, warm=3
    )
    assert list(spent) == [recipe_step.BARE, recipe_step.RECIPE, recipe_step.FULL]
    assert all(seconds > 0 for rounds in spent.values() for seconds in rounds)
