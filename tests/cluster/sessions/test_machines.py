"""Trials on machines, by hand: nothing lies half on one machine and half on another, no share half on two cards."""

from __future__ import annotations

import pytest

from automl_kd.cluster.sessions.machines import fit, no_room, places_on_cards
from automl_kd.config import Resources


def machine(cpus: float, gpus: float = 0) -> dict[str, float]:
    return {"CPU": cpus, "memory": 1e9, **({"GPU": gpus} if gpus else {})}


HEAD = {"memory": 1e9}
"""A machine on which nothing is to run: Ray names no CPUs then."""


@pytest.mark.parametrize(
    ("gpus", "cards", "trials"),
    [
        (1, 2, 2),
        (2, 3, 1),
        (2, 1, 0),
        (0.5, 2, 4),
        (0.6, 2, 2),  # by amounts alone there would be three
        (0.3, 1, 3),
        (0.4, 5, 10),
        # in floating point 1 / 0.1 lies above and 0.3 / 0.1 below the whole number
        (0.1, 1, 10),
        (0.1, 0.3, 3),
    ],
)
def test_cards(gpus, cards, trials):
    assert places_on_cards(gpus, cards) == trials


@pytest.mark.parametrize(
    ("each", "machines", "workers", "trials"),
    [
        (machine(4), [machine(2), machine(2)], 1, 0),
        (machine(1, 2), [machine(8, 1), machine(8, 1)], 1, 0),
        (machine(1, 2), [machine(8, 3), machine(8, 2)], 1, 2),
        (machine(2), [machine(7), machine(3), HEAD], 1, 4),
        (machine(1, 1), [HEAD], 1, 0),
        (machine(1, 1), [machine(8), machine(8, 2)], 1, 2),  # processors of the one without a card are of no use
        (machine(8, 0.5), [machine(8, 1)], 1, 1),
        (machine(2, 1), [machine(2, 1)] * 4, 4, 1),
        (machine(2), [machine(3), machine(3)], 2, 1),
        (machine(1), [], 1, 0),
    ],
)
def test_machines(each, machines, workers, trials):
    assert fit(each, machines, workers) == trials


@pytest.mark.parametrize(
    ("resources", "each", "machines", "sentence"),
    [
        (
            Resources(cpus=8),
            machine(8),
            [machine(4)],
            "a trial asks for 8 CPUs and 0 GPUs, but Ray has 4 CPUs and 0 GPUs; lower trial.cpus or trial.gpus, or set "
            "trial.device",
        ),
        (
            Resources(cpus=4),
            machine(4),
            [machine(2), machine(2), machine(1, 1)],
            "a trial asks for 4 CPUs and 0 GPUs, but no machine has as many: 2 with 2 CPUs and 0 GPUs, 1 with 1 CPU "
            "and 1 GPU; lower trial.cpus or trial.gpus, or set trial.device",
        ),
        (
            Resources(workers=3),
            machine(1, 1),
            [machine(4, 1), machine(4, 1)],
            "each of the 3 workers of a trial asks for 1 CPU and 1 GPU, but Ray has room for 2 of them on 2 machines; "
            "lower trial.workers, trial.cpus or trial.gpus, or set trial.device",
        ),
    ],
)
def test_what_fits_nowhere_is_said_in_one_sentence(resources, each, machines, sentence):
    assert no_room(resources, each, machines) == sentence
