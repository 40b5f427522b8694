"""How many trials fit, by hand, for clusters that are only pretended."""

from __future__ import annotations

import pytest
import ray

from automl_kd.cluster.session import concurrency, device_of, session, share
from automl_kd.config import Resources
from automl_kd.errors import ConfigError


@pytest.fixture
def cluster(monkeypatch):
    """Sets what Ray says that it has."""

    def has(cpus: float, gpus: float = 0, *, machines: int = 1) -> None:
        def found(share: int) -> dict[str, float]:
            return {"CPU": cpus / share, "memory": 1e9, **({"GPU": gpus / share} if gpus else {})}

        node = {"Alive": True, "Resources": found(machines)}
        gone = {"Alive": False, "Resources": found(1)}
        monkeypatch.setattr(ray, "cluster_resources", lambda: found(1))
        monkeypatch.setattr(ray, "nodes", lambda: [node] * machines + [gone])

    return has


@pytest.mark.parametrize(
    ("cpus", "gpus", "resources", "room"),
    [
        (4, 0, Resources(), 4),
        (4, 0, Resources(concurrent=3), 3),
        (4, 0, Resources(concurrent=9), 4),
        (7, 0, Resources(cpus=2), 3),
        (8, 2, Resources(), 2),
        (8, 2, Resources(gpus=0.5), 4),
        # in floating point 1 / 0.1 lies above and 0.3 / 0.1 below the whole number
        (16, 1, Resources(gpus=0.1), 10),
        (16, 0.3, Resources(gpus=0.1), 3),
        (8, 1, Resources(gpus=0.5, cpus=8), 1),
        (8, 2, Resources(device="cpu"), 8),
    ],
)
def test_room_by_hand(cluster, cpus, gpus, resources, room):
    cluster(cpus, gpus)
    assert concurrency(resources) == room


@pytest.mark.parametrize(
    ("cpus", "gpus", "machines", "resources", "room"),
    [
        (4, 0, 1, Resources(workers=2), 2),
        (4, 0, 1, Resources(workers=2, concurrent=1), 1),
        (8, 4, 1, Resources(workers=2), 2),
        (8, 4, 1, Resources(workers=2, cpus=4), 1),
        (8, 4, 4, Resources(workers=4, cpus=2), 1),  # a worker on each machine
        (6, 0, 2, Resources(workers=2, cpus=2), 1),  # a third worker would have one processor of each machine
    ],
)
def test_room_for_trials_of_several_workers_by_hand(cluster, cpus, gpus, machines, resources, room):
    cluster(cpus, gpus, machines=machines)
    assert concurrency(resources) == room


def test_several_workers_need_room_for_all_of_them(cluster):
    cluster(4, 2)
    with pytest.raises(
        ConfigError,
        match=r"^each of the 3 workers of a trial asks for 1 CPUs and 1 GPUs, but Ray has 4 and 2; lower "
        r"trial.workers, trial.cpus or trial.gpus, or set trial.device$",
    ):
        concurrency(Resources(workers=3))


def test_the_device_is_the_best_there_is_unless_it_is_named(cluster):
    cluster(4)
    assert (device_of(Resources()), device_of(Resources(device="cuda"))) == ("cpu", "cuda")
    cluster(4, 1)
    assert (device_of(Resources()), device_of(Resources(device="cpu"))) == ("cuda", "cpu")
    assert share(Resources(cpus=2, gpus=0.5)) == {"cpu": 2, "gpu": 0.5}
    assert share(Resources(device="cpu")) == {"cpu": 1, "gpu": 0}


@pytest.mark.parametrize(
    ("resources", "asked"),
    [(Resources(cpus=8), "8 CPUs and 0 GPUs"), (Resources(device="cuda", gpus=0.5), "1 CPUs and 0.5 GPUs")],
)
def test_a_trial_for_which_there_is_no_room_is_refused_in_one_sentence(cluster, resources, asked):
    cluster(4)
    sentence = f"a trial asks for {asked}, but Ray has 4 and 0; lower trial.cpus or trial.gpus, or set trial.device"
    with pytest.raises(ConfigError, match=f"^{sentence}$"):
        concurrency(resources)


@pytest.mark.ray
def test_a_running_ray_is_used_and_left_running(ray_session):
    with session():
        assert ray.cluster_resources()["CPU"] == 4
    assert ray.is_initialized()
