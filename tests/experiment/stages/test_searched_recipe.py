"""Fields of the recipe, and what students begin with, are searched and compared like options of a method."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch

from automl_kd.config import ComparisonSection, Finalists, MethodEntry, Range, SearchSection
from automl_kd.errors import ConfigError
from automl_kd.experiment import preparation
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.records import teaching_columns
from automl_kd.experiment.stages.comparison import Candidate, trial
from automl_kd.experiment.stages.finals import final_spec, full_length, line_up, proposal_of
from automl_kd.experiment.stages.lengths import recipe_length
from automl_kd.experiment.stages.search import search_spec
from automl_kd.export.experiment_file import experiment_of
from automl_kd.methods import run_trial
from automl_kd.methods.schedule import schedule_parts
from automl_kd.results import units
from automl_kd.space import Architecture, FloatRange, When
from automl_kd.spec import schedule_text
from tests import tiny

SEARCHED: dict[str, Any] = {
    "method": ("kd", "scratch"),
    "recipe.lr": Range(low=0.01, high=0.1, log=True),
    "recipe.augment": ("none", "crop"),
    "student.init": ("fresh", "teacher"),
}


def opened(root, **changes: Any) -> ExperimentContext:
    search = SearchSection(sampler="random", trials=6, scheduler="none")
    plain = tiny.experiment(**{"method": "kd", "hyperparameters": SEARCHED, "search": search, **changes})
    return prepare_experiment(plain, Roots(results=root / "results", data=root), Silent())


def point(**values: Any) -> Architecture:
    return Architecture.of({"width": 4, **{name.replace("_", "."): value for name, value in values.items()}})


KD = point(method="kd", recipe_lr=0.02, recipe_augment="none", student_init="teacher")


def test_settings_are_parameters_and_a_start_only_where_there_is_a_teacher(tmp_path):
    parameters = opened(tmp_path).searched.parameters
    assert parameters["recipe.lr"].domain == FloatRange(0.01, 0.1, log=True)
    assert parameters["recipe.lr"].when is None
    assert parameters["student.init"].when == When("method", ("kd",))


def test_a_trial_is_trained_with_what_its_point_says_and_its_row_says_so(tmp_path):
    context = opened(tmp_path)
    spec = search_spec(context, context.proposal(KD))
    (part,) = schedule_parts(spec)
    assert part.spec.recipe == dataclasses.replace(context.experiment.recipe, lr=0.02, augment="none")
    assert part.spec.init == "teacher"
    columns = teaching_columns(spec)
    assert columns["init"] == "teacher"
    assert units.schedule(columns["schedule_json"]) == "recipe.augment=none, recipe.lr=0.02, student.init=teacher"

    # bit for bit what a trial of that recipe and start does
    tiny.leave_teacher(context)
    direct = dataclasses.replace(part.spec, schedule=())
    students = []
    for one in (spec, direct):
        paths = context.trial_paths(one, "cpu")
        run_trial(one, tiny.Recorder(), paths)
        students.append(torch.load(paths.trial / "student.pt", weights_only=True))
    assert all(torch.equal(value, students[1][name]) for name, value in students[0].items())


def test_the_found_teaching_goes_into_the_finals_and_its_start_has_a_fresh_twin(tmp_path):
    context = opened(tmp_path)
    found = context.proposal(KD)
    row = (
        json.dumps(found.architecture.as_dict()),
        found.method,
        json.dumps(dict(found.options)),
        schedule_text(found.schedule),
    )
    assert proposal_of(*row) == found
    tiny.leave_teacher(context)
    by_role = {one.role: one.proposal for one in line_up(context, found)}
    assert by_role["found-method"] == found
    twin = final_spec(context, by_role["found-fresh"], full_length(context), seed=0)
    (part,) = schedule_parts(twin)
    assert (part.spec.init, part.spec.recipe.lr, part.spec.recipe.augment) == ("fresh", 0.02, "none")
    alone = final_spec(context, by_role["found-labels"], full_length(context), seed=0)
    (part,) = schedule_parts(alone)
    assert (part.spec.method, part.spec.init) == ("scratch", "teacher")
    assert (part.spec.recipe.lr, part.spec.recipe.augment) == (0.02, "none")
    fresh = final_spec(context, by_role["found-scratch"], full_length(context), seed=0)
    (part,) = schedule_parts(fresh)
    assert (part.spec.method, part.spec.init, part.spec.teacher) == ("scratch", "fresh", None)
    assert (part.spec.recipe.lr, part.spec.recipe.augment) == (0.02, "none")  # so that teaching is all that differs


def test_the_experiment_of_a_trial_has_its_settings(tmp_path):
    context = opened(tmp_path)
    found = experiment_of(search_spec(context, context.proposal(KD)), "again")
    assert (found.recipe.lr, found.recipe.augment, found.comparison.methods[0].init) == (0.02, "none", "teacher")


@pytest.mark.parametrize(
    ("searched", "said"),
    [
        ({"recipe.epochs": (2, 3)}, "recipe.epochs decides what a training costs, .* set it in \\[recipe\\]"),
        ({"recipe.rate": (0.1,)}, "the recipe has no field 'rate'"),
        ({"recipe.lr": (0.1, -1.0)}, 'hyperparameters."recipe.lr"'),
        ({"recipe.augment": ("flop",)}, 'hyperparameters."recipe.augment"'),
        ({"student.init": ("fresh", "weights.pt")}, "cannot be 'weights.pt'"),
        ({"method": ("scratch",), "student.init": ("fresh",)}, "has no effect on scratch"),
    ],
)
def test_what_cannot_be_searched_is_a_sentence(tmp_path, searched, said):
    with pytest.raises(ConfigError, match=said):
        opened(tmp_path, hyperparameters=searched)


def test_settings_that_go_only_apart_are_not_proposed_together(tmp_path):
    context = opened(tmp_path, hyperparameters={"recipe.momentum": (0.0, 0.9), "recipe.nesterov": (False, True)})
    allowed = [
        (momentum, nesterov)
        for momentum in (0.0, 0.9)
        for nesterov in (False, True)
        if context.allowed(point(recipe_momentum=momentum, recipe_nesterov=nesterov))
    ]
    assert allowed == [(0.0, False), (0.9, False), (0.9, True)]


def compared(*entries: MethodEntry) -> dict[str, Any]:
    return {
        "comparison": ComparisonSection(reference="kd", methods=entries),
        "finalists": Finalists(seeds=(0,), readings=("compute",)),
        "hyperparameters": {},
    }


def test_an_entry_of_a_comparison_has_a_recipe_of_its_own(tmp_path):
    plain, other = MethodEntry(name="kd", method="kd"), MethodEntry(name="b", method="kd", recipe={"lr": 1})
    context = opened(tmp_path, search=SearchSection(), **compared(plain, other))
    length = recipe_length(context.experiment.recipe)
    for entry, rate in zip(context.experiment.comparison.methods, (context.experiment.recipe.lr, 1.0), strict=True):
        (part,) = schedule_parts(trial(context, Candidate(entry, {}), length, 0))
        assert part.spec.recipe.lr == rate


@pytest.mark.parametrize(
    ("recipe", "method", "said"),
    [
        ({"epochs": 3}, "kd", "recipe of 'b': recipe.epochs decides what a training costs"),
        ({"lr": "fast"}, "kd", "recipe of 'b'"),
        ({"mixup": 0.2}, "lkd", "method 'lkd' needs one label for each image"),
    ],
)
def test_an_entry_with_a_recipe_that_does_not_fit_is_a_sentence(tmp_path, recipe, method, said):
    entries = (MethodEntry(name="kd", method="kd"), MethodEntry(name="b", method=method, recipe=recipe))
    with pytest.raises(ConfigError, match=said):
        opened(tmp_path, search=SearchSection(), **compared(*entries))


def test_a_method_is_tried_by_the_recipe_of_its_entry(tmp_path):
    mixed = dataclasses.replace(tiny.RECIPE, mixup=0.2)
    plain = MethodEntry(name="kd", method="kd")
    dkd = MethodEntry(name="b", method="weighted_losses", options={"losses": "dkd"}, recipe={"mixup": 0.0})
    opened(tmp_path, search=SearchSection(), recipe=mixed, **compared(plain, dkd))
    without = dataclasses.replace(dkd, recipe={})
    with pytest.raises(ConfigError, match="loss 'dkd' needs one label for each image"):
        opened(tmp_path, search=SearchSection(), recipe=mixed, **compared(plain, without))


def test_every_combination_of_a_grid_is_tried_by_the_recipe_of_its_entry(tmp_path):
    entry = MethodEntry(name="b", method="weighted_losses", grid={"losses": ("kd", "dkd")}, recipe={"mixup": 0.2})
    with pytest.raises(ConfigError, match="loss 'dkd' needs one label for each image"):
        opened(tmp_path, search=SearchSection(), **compared(MethodEntry(name="kd", method="kd"), entry))


def test_a_searched_recipe_must_fit_each_method_somewhere(tmp_path):
    mixed = dataclasses.replace(tiny.RECIPE, mixup=0.2)
    searched = {"method": ("kd", "lkd"), "recipe.mixup": (0.2, 0.0)}
    context = opened(tmp_path, recipe=mixed, hyperparameters=searched)
    allowed = [
        (method, mixup)
        for method in searched["method"]
        for mixup in searched["recipe.mixup"]
        if context.allowed(point(method=method, recipe_mixup=mixup))
    ]
    assert allowed == [("kd", 0.2), ("kd", 0.0), ("lkd", 0.0)]
    with pytest.raises(ConfigError, match="method 'lkd' needs one label for each image"):
        opened(tmp_path, recipe=mixed, hyperparameters={**searched, "recipe.mixup": (0.2, 0.4)})


def test_equal_ways_of_teaching_are_tried_once(tmp_path, monkeypatch):
    tried: list[tuple[str, float]] = []
    monkeypatch.setattr(
        preparation, "dry_run_method", lambda spec, *_: tried.append((spec.method, spec.recipe.label_smoothing))
    )
    entries = (
        MethodEntry(name="kd", method="kd"),
        MethodEntry(name="again", method="kd", init="teacher"),
        MethodEntry(name="smooth", method="kd", recipe={"label_smoothing": 0.1}),
    )
    opened(tmp_path, search=SearchSection(), **compared(*entries))
    assert tried == [("kd", 0.0), ("kd", 0.1)]
