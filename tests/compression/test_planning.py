"""Planning on real digits, with a speed that is given: choices, limits, refusals, and what is kept of them."""

from __future__ import annotations

import dataclasses
import json
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from automl_kd.api.compressing import make_request, plan_compression
from automl_kd.compression import open_plan, opening
from automl_kd.compression.choices import chooses_resolution
from automl_kd.compression.measured_speed import MeasuredSpeed
from automl_kd.compression.plan import finals_seconds
from automl_kd.compression.planning import make_plan
from automl_kd.compression.timekeeper import Timekeeper, speed_of_found
from automl_kd.config import Budget
from automl_kd.errors import ConfigError, RecordError, ResultError
from automl_kd.experiment import Roots
from automl_kd.experiment.progress.events import Silent
from automl_kd.export import ExportOptions
from automl_kd.models import build_model
from automl_kd.space import InputShape, sample_architecture
from automl_kd.spec.named_recipes import named_recipe
from tests.data.text.words import encoder_of, write_set
from tests.models.black_box.files import save_pt2
from tests.profiling.made import made_profile

SPEED = MeasuredSpeed(
    step=1e-4, teacher=1e-4, images=1300, labelled=1300, validation=144, test=360, scratch_ratio=1.5, workers=2
)


def request_of(params=20_000, **changes):
    sections = {"teacher": {"model": "resnet20"}, "data": {"name": "digits"}}
    return make_request(**{"name": "mine", **sections, "hours": 0.2, "budget": Budget(params=params), **changes})


def plan(tmp_path, request, measure=lambda _context, _address: SPEED):
    roots = Roots(results=tmp_path / "results", data=tmp_path / "data")
    kept = open_plan(request, roots.results / request.name)
    keeper = Timekeeper(kept, request.hours, Silent())
    return make_plan(request, kept, roots, keeper, measure=measure), kept, keeper


def test_a_recipe_that_is_named_is_taken_whole_but_for_its_length(tmp_path):
    experiment, kept, _ = plan(tmp_path, request_of(overrides=("recipe.name=tv2",)))
    assert experiment.recipe == named_recipe("tv2", epochs=kept.plan.epochs)


def test_small_images_get_a_small_space_and_a_default_within_the_limits(tmp_path):
    experiment, kept, _ = plan(tmp_path, request_of())
    assert experiment.space == "search_spaces.resnet:SPACE"
    assert experiment.budget.params == 20_000
    assert experiment.finalists.baseline["width1"] == 8  # 272,000 parameters at 16
    assert experiment.search.trials == kept.plan.trials
    assert experiment.finalists.epochs == kept.plan.finals.epochs
    assert experiment.finalists.seeds == tuple(range(kept.plan.finals.seeds))
    assert set(experiment.finalists.baselines) == {"default-kd", "found-scratch", "found-labels"}


@pytest.mark.parametrize(
    ("teacher", "space", "begins"),
    [
        ("resnet20", "", "teacher"),
        ("vgg13", "", "fresh"),
        ("resnet20", "search_spaces.mobile:SPACE", "fresh"),  # where it was a refusal
    ],
)
def test_students_begin_with_a_teacher_that_has_their_layers(tmp_path, teacher, space, begins):
    network = build_model(teacher, InputShape(1, 8, 8, 10))
    torch.save(network.state_dict(), tmp_path / "teacher.pt")
    trained, given = {"model": teacher}, {"model": teacher, "checkpoint": str(tmp_path / "teacher.pt")}
    for section in (given,) if space else (trained, given):
        experiment, _, _ = plan(tmp_path, request_of(params=200_000, teacher=section, space=space))
        assert experiment.student.init == begins
    experiment, _, _ = plan(tmp_path, request_of(params=200_000, overrides=("student.init=fresh",)))
    assert experiment.student.init == "fresh"


def test_a_file_that_students_begin_with_is_the_one_that_is_measured_and_planned_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(build_model("resnet20", InputShape(1, 8, 8, 10)).state_dict(), "weights.pt")
    measured = []

    def measure(context, _address):
        measured.append(context.experiment.student.init)
        return SPEED

    plan(tmp_path, request_of(params=200_000, overrides=("student.init=weights.pt",)), measure)
    assert [one.startswith(f"{tmp_path}/weights.pt@") for one in measured] == [True]


def test_students_of_a_teacher_that_shows_no_layers_begin_afresh(tmp_path):
    shape = InputShape(1, 8, 8, 10)
    network = build_model("resnet8", shape).eval()
    graph = {"model": f"file:{save_pt2(network, tmp_path / 'teacher.pt2', shape)}"}
    torch.save(network.state_dict(), tmp_path / "teacher.pt")
    one = {"model": "resnet8", "checkpoint": str(tmp_path / "teacher.pt")}
    for section in (graph, {**one, "others": [one]}):
        experiment, _, _ = plan(tmp_path, request_of(params=200_000, teacher=section))
        assert (experiment.student.init, experiment.options["weight"]) == ("fresh", 1.0)


def test_a_slow_student_is_replaced_by_one_whose_finals_have_time(tmp_path):
    asked = []

    def measure(context, _address):
        macs = context.cost(context.baseline).macs
        asked.append(macs)
        return dataclasses.replace(SPEED, step=macs * 1e-8)

    experiment, kept, _ = plan(tmp_path, request_of(params=2_000_000, hours=0.25), measure)
    assert experiment.budget.macs < asked[0]  # and its speed follows from that of the one that was measured
    assert kept.speed.step < asked[0] * 1e-8
    assert 0.5 < kept.speed.size < 2
    assert kept.plan.finals.epochs >= 4


def test_a_student_is_not_made_smaller_than_the_space_has_them(tmp_path):
    least = []

    def measure(context, _address):
        drawn = (sample_architecture(context.space, np.random.default_rng(seed)) for seed in range(200))
        least.append(min(context.cost(one).macs for one in drawn))
        return SPEED

    plan(tmp_path, request_of(name="any"), measure)
    slow = dataclasses.replace(SPEED, step=2e-2)
    request = request_of(hours=0.25, budget=Budget(macs=int(1.2 * least[0])))
    experiment, kept, _ = plan(tmp_path, request, lambda _context, _address: slow)
    assert 1 <= kept.plan.finals.epochs < 8
    assert kept.plan.trials >= 4
    assert experiment.budget.macs == int(1.2 * least[0])


def test_too_few_hours_are_refused_with_those_that_would_do(tmp_path):
    slow = dataclasses.replace(SPEED, step=1.0)
    with pytest.raises(ConfigError, match=r"--budget-hours 0\.2 leaves no time .* give \S+ hours or more"):
        plan(tmp_path, request_of(epochs=3), lambda _context, _address: slow)


def test_limits_that_no_student_meets_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="meets the budget"):
        plan(tmp_path, request_of(params=100))


def test_an_override_comes_last(tmp_path):
    experiment, _, _ = plan(tmp_path, request_of(overrides=("search.sampler=random", "recipe.lr=0.2")))
    assert (experiment.search.sampler, experiment.recipe.lr) == ("random", 0.2)


def test_overridden_trials_are_what_the_plan_counts(tmp_path):
    experiment, kept, _ = plan(tmp_path, request_of(overrides=("search.trials=70", "recipe.epochs=3")))
    assert (kept.plan.trials, kept.plan.epochs) == (experiment.search.trials, experiment.recipe.epochs) == (70, 3)
    with pytest.raises(RecordError, match=r"finalists\.epochs follows from the hours"):
        request_of(overrides=("finalists.epochs=3",))


def test_a_kept_plan_goes_on_and_another_request_is_refused(tmp_path):
    request = request_of()
    experiment, kept, keeper = plan(tmp_path, request)
    keeper.begin("search")
    again = open_plan(request, tmp_path / "results" / "mine")
    assert (again.plan, again.speed, again.sections) == (kept.plan, kept.speed, kept.sections)
    assert request.experiment(again.sections) == experiment
    open_plan(dataclasses.replace(request, hours=3.0), tmp_path / "results" / "mine")  # more time is no other request
    with pytest.raises(ResultError, match=r"another compression: its budget\.params is 20000"):
        open_plan(request_of(params=30_000), tmp_path / "results" / "mine")


def test_a_request_is_kept_as_it_is_read_back():
    kept = request_of(teacher={"model": "resnet20", "preprocessing": {"mean": (0.4,), "std": (0.3,)}}).to_record()
    assert kept == json.loads(json.dumps(kept))


def test_a_damaged_plan_is_refused(tmp_path):
    request = request_of()
    _, _, keeper = plan(tmp_path, request)
    keeper.begin("search")
    keeper.kept.file.write_text('{"request": 3}')
    with pytest.raises(ResultError, match="delete it, and the same command plans anew"):
        open_plan(request, tmp_path / "results" / "mine")


def test_nothing_is_left_of_a_plan_that_cannot_be_made(tmp_path, monkeypatch):
    monkeypatch.setattr("automl_kd.api.compressing.check_packages", lambda _options: None)
    roots = Roots(results=tmp_path / "results", data=tmp_path / "data")
    with pytest.raises(ConfigError):
        plan_compression(request_of(params=100), roots, Silent(), ExportOptions())
    assert not (tmp_path / "results").exists()


def context_of(rows: pd.DataFrame) -> Any:
    """Of a search with such rows, whose default student takes two million multiply-adds."""
    return SimpleNamespace(
        table=SimpleNamespace(read=lambda: rows),
        experiment=SimpleNamespace(recipe=SimpleNamespace(batch_size=100)),
        cost=lambda _student: SimpleNamespace(macs=2_000_000),
        baseline=None,
    )


NOTHING = pd.DataFrame({"trial_kind": [], "status": [], "val_accuracy": []})


def test_the_search_ends_when_the_finals_need_what_is_left(tmp_path):
    _, kept, keeper = plan(tmp_path, request_of())
    needed, context = kept.plan.reserve + kept.plan.finals.seconds, context_of(NOTHING)
    kept.spent = {"search": 0.2 * 3600 - needed - 60}
    assert keeper.may_propose(context, 30)
    kept.spent = {"search": 0.2 * 3600 - needed - 1}  # a trial takes longer
    assert not keeper.may_propose(context, 30)
    assert keeper.may_propose(context, 2)  # kills cost time, and without a trial there is no found student
    kept.finals = kept.plan.finals
    assert not keeper.may_propose(context, 2)


def test_the_search_ends_when_the_costly_students_that_it_found_need_what_is_left(tmp_path):
    _, kept, keeper = plan(tmp_path, request_of())
    rows = pd.DataFrame(
        {"trial_kind": ["search"], "status": ["complete"], "val_accuracy": [0.9], "epochs_done": [kept.plan.epochs]}
    )
    rows = rows.assign(macs=6_000_000, teacher_passes=0.0, seconds=120.0)
    needed = kept.plan.reserve + kept.plan.finals.seconds
    kept.spent = {"search": 0.2 * 3600 - needed - 60}
    assert not keeper.may_propose(context_of(rows), 30)
    assert keeper.may_propose(context_of(rows.assign(seconds=1.0)), 30)


def test_finals_of_a_length_that_is_asked_for_keep_their_time(tmp_path):
    _, kept, keeper = plan(tmp_path, request_of(epochs=40))
    rows = pd.DataFrame({"trial_kind": ["search"], "status": ["complete"], "val_accuracy": [0.9], "epochs_done": [2]})
    context = context_of(rows.assign(macs=6_000_000, teacher_passes=0.0, seconds=4.0))
    speed = speed_of_found(context, kept.speed)
    finals = finals_seconds(speed, 3, 1, 40)
    assert finals > kept.plan.finals.seconds
    kept.spent = {"search": 0.2 * 3600 - kept.plan.reserve - finals - 1}
    assert not keeper.may_propose(context, 30)
    assert keeper.fit_finals(context).seconds <= finals


def test_finals_have_an_epoch_where_there_is_no_time_left(tmp_path):
    _, kept, keeper = plan(tmp_path, request_of())
    kept.spent = {"search": 0.2 * 3600}
    finals = keeper.fit_finals(context_of(NOTHING))
    assert finals.epochs == 1
    assert finals.seconds == finals_seconds(kept.speed, finals.seeds, finals.count, 1) > 0  # and are told so


def test_seconds_are_counted_by_stage_over_sessions(tmp_path):
    request = request_of()
    _, kept, keeper = plan(tmp_path, request)
    keeper.begin("search")
    time.sleep(0.2)
    keeper.begin("finals")
    assert 0.2 <= kept.spent["search"] < 5
    again = Timekeeper(open_plan(request, tmp_path / "results" / "mine"), request.hours, Silent())
    assert again.left <= request.hours * 3600 - 0.2


@pytest.mark.parametrize(
    ("name", "chosen"), [("digits", False), ("folder:photos", True), ("arrays:a.npz", False), ("pack:p", False)]
)
def test_the_resolution_is_chosen_for_files_alone(name, chosen):
    assert chooses_resolution(request_of(data={"name": name})) is chosen
    assert not chooses_resolution(request_of(data={"name": name, "resolution": 64}))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"hours": 0}, "budget hours must lie above 0"),
        ({"seeds": 99}, "seeds must be 0"),
    ],
)
def test_a_wrong_number_is_one_sentence(changes, sentence):
    with pytest.raises((ConfigError, RecordError), match=sentence):
        request_of(**changes)


def test_the_found_students_own_seconds_replace_the_defaults():
    rows = pd.DataFrame(
        {
            "trial_kind": ["search", "search"],
            "status": ["complete", "stopped"],
            "val_accuracy": [0.5, 0.9],
            "seconds": [20.0, 1000.0],
            "epochs_done": [4, 1],
            "teacher_passes": [13.0, 0.0],
            "macs": [3_000_000, 9_000_000],
        }
    )
    found = speed_of_found(context_of(rows), SPEED)
    steps = (20.0 - 13 * 100 * 1e-4) / 4 / (1300 + 144 / 3)  # the passes are of batches
    assert found.size == pytest.approx(1.5)  # of which equal compute follows, whatever a multiply-add takes
    assert found.size * found.pace == pytest.approx(steps / SPEED.step)
    assert found.step == SPEED.step


def test_texts_get_encoders_that_begin_with_layers_of_a_teacher_that_is_fine_tuned(tmp_path):
    table, folder = write_set(tmp_path / "set"), encoder_of(tmp_path / "encoder", 192)
    asked = {"teacher": {"model": f"hf:{folder}"}, "data": {"name": f"text:{table}"}, "hours": 1.0}
    experiment, _, _ = plan(tmp_path, request_of(params=200_000, **asked))
    assert experiment.space == "search_spaces.bert:SPACE"
    assert experiment.student.init == "teacher"
    assert (experiment.recipe.optimizer, experiment.recipe.batch_size) == ("adamw", 32)
    assert experiment.recipe.decay_norms  # methods that look ahead want it
    assert (experiment.teacher.recipe.optimizer, experiment.teacher.recipe.epochs) == ("adamw", 2)
    assert experiment.teacher.recipe.lr < experiment.recipe.lr
    assert not experiment.search.proxy_filter
    assert experiment.budget.params == 200_000


@pytest.mark.slow
def test_a_latency_of_texts_is_of_a_profile_at_their_mean_length(tmp_path, monkeypatch):
    made = []

    def profile_here(out, profiled, _watcher):
        made.append(profiled)
        made_profile(dataclasses.replace(profiled, networks=6)).write(out)

    monkeypatch.setattr(opening, "profile_this_machine", profile_here)
    table, folder = write_set(tmp_path / "set"), encoder_of(tmp_path / "encoder")
    asked = {"teacher": {"model": f"hf:{folder}"}, "data": {"name": f"text:{table}"}, "hours": 1.0}
    experiment, _, _ = plan(tmp_path, request_of(budget=Budget(latency_ms=0.5), **asked))
    (profiled,) = made
    assert profiled.space == "search_spaces.bert:SPACE"
    length = profiled.shape.width  # of texts of 3 to 12 words, and two tokens around them
    assert 8 < length < 11
    assert experiment.budget.profile.endswith(f"_profile-{length}.json")
    assert experiment.budget.latency_ms == 0.5
