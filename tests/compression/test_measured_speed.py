"""What measured trials tell: seconds for an image of steps and of the teacher's passes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from automl_kd.compression import measured_speed
from automl_kd.compression.measured_speed import TimedSteps, count_untaught, images_in, measure_searched, time_step
from automl_kd.compression.timed_trials import TimedTrials
from automl_kd.config import Experiment, Finalists, StudentSection
from automl_kd.errors import TrialError
from automl_kd.spec import Recipe


def context_of(images: int) -> Any:
    return SimpleNamespace(dataset=SimpleNamespace(train=range(images)))


def specs_of(images: int) -> Any:
    def make(steps: int, _count: int) -> list[Any]:
        whole = steps * 64 >= images
        recipe = (
            Recipe(epochs=1, batch_size=64)
            if whole
            else Recipe(epochs=1, batch_size=64, last_epoch=steps * 64 / images)
        )
        return [SimpleNamespace(method="scratch", options={}, recipe=recipe)]

    return make


@pytest.mark.parametrize(
    ("images", "each", "trained"),
    [
        (6400, 0.01, 12 * 64),
        (448, 0.01, 7 * 64),  # an epoch of few labelled images ends before the twelfth step
        (64_000, 0.00125, 48 * 64),  # twelve steps of a fast student are not to be told from three
        (64_000, 0.0004, 192 * 64),
        (6400, 0.0001, 100 * 64),
    ],
)
def test_a_step_is_priced_by_as_many_steps_as_tell_its_seconds(monkeypatch, images, each, trained):
    context, disturbed = context_of(images), iter([0.4, -0.4, 0.2, -0.2])

    def timed(_context: Any, specs: list[Any]) -> TimedTrials:
        return TimedTrials(2.0 + each * images_in(context, specs[0]) + next(disturbed), beside=4.0)

    monkeypatch.setattr(measured_speed, "time_trials", timed)
    found = time_step(context, specs_of(images), 1)
    assert found.images == trained
    assert found.beside == 4.0
    assert found.per_image == pytest.approx(each, abs=0.81 / (trained - 3 * 64))


def test_pace_is_seconds_for_each_multiply_add_of_what_is_searched_over_the_defaults(monkeypatch):
    costs = {"default": 100, "small": 150, "large": 170}
    context: Any = SimpleNamespace(
        space=SimpleNamespace(parameters={"width": None}),
        baseline="default",
        cost=lambda one: SimpleNamespace(macs=costs[one]),
        dataset=SimpleNamespace(train=range(6400)),
    )
    monkeypatch.setattr(measured_speed, "searched_students", lambda _: (1.6, ["small", "large", "other"]))
    monkeypatch.setattr(measured_speed, "proposal_specs", lambda *_: specs_of(6400))
    monkeypatch.setattr(
        measured_speed,
        "final_spec",
        lambda _context, proposal, length, _seed: SimpleNamespace(
            method="scratch", recipe=length.applied(Recipe(batch_size=64)), architecture=proposal.architecture
        ),
    )
    # 2 s beside, then twice as long for each multiply-add as the default, whose image takes 0.01 s
    monkeypatch.setattr(measured_speed, "time_trials", lambda *_: TimedTrials(2.0 + 768 * 0.01 * 1.6 * 2))
    alone = TimedSteps(per_image=0.01, seconds=2.0 + 768 * 0.01, images=768)
    size, pace = measure_searched(context, alone, 2)
    assert size == 1.6
    assert pace == pytest.approx(2.0)

    def all_failed(*_: Any) -> float:
        raise TrialError("none came through")

    monkeypatch.setattr(measured_speed, "time_trials", all_failed)
    assert measure_searched(context, alone, 2) == (1.6, 1.0)


@pytest.mark.parametrize(
    ("baselines", "init", "trained"),
    [
        (("default-kd", "found-scratch", "found-labels"), "teacher", 2),
        (("default-kd", "found-scratch", "found-labels"), "fresh", 1),
        (("default-scratch", "found-scratch"), "fresh", 2),
        (("default-kd",), "teacher", 0),
    ],
)
def test_trainings_without_the_teacher_count_that_from_its_weights_where_there_is_one(baselines, init, trained):
    experiment = Experiment(
        name="counted",
        space="search_spaces.resnet:SPACE",
        student=StudentSection(init=init),
        finalists=Finalists(baselines=baselines),
    )
    assert count_untaught(experiment) == trained


def test_the_teachers_passes_are_what_is_left_beyond_the_students_steps():
    alone = TimedSteps(per_image=0.01, seconds=2.0 + 0.01 * 448, images=448)
    assert alone.rest_of(2.0 + 768 * (0.01 + 0.003), 768) == pytest.approx(0.003)
    assert alone.rest_of(2.0, 768) == 0.0
