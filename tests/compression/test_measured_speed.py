"""What measured trials tell: seconds for an image of steps and of the teacher's passes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from automl_kd.compression import measured_speed
from automl_kd.compression.measured_speed import TimedSteps, images_in, time_step
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


@pytest.mark.parametrize(("images", "trained"), [(6400, 12 * 64), (448, 7 * 64)])
def test_a_step_is_priced_by_the_steps_that_were_made(monkeypatch, images, trained):
    context = context_of(images)

    def timed(_context: Any, specs: list[Any]) -> float:
        return 2.0 + 0.01 * images_in(context, specs[0])

    monkeypatch.setattr(measured_speed, "time_trials", timed)
    found = time_step(context, specs_of(images), 1)
    assert found.images == trained  # an epoch of few labelled images ends before the twelfth step
    assert found.per_image == pytest.approx(0.01)


def test_the_teachers_passes_are_what_is_left_beyond_the_students_steps():
    alone = TimedSteps(per_image=0.01, seconds=2.0 + 0.01 * 448, images=448)
    assert alone.rest_of(2.0 + 768 * (0.01 + 0.003), 768) == pytest.approx(0.003)
    assert alone.rest_of(2.0, 768) == 0.0
