"""How many trials fit, by hand, for clusters that are only pretended."""

from __future__ import annotations

import pytest
import ray

from automl_kd.cluster.sessions import session as sessions
from automl_kd.cluster.sessions.growing import wait_for_resources
from automl_kd.cluster.sessions.session import (
    concurrency,
    device_of,
    each_processor_trains,
    resources_per_trial,
    session,
)
from automl_kd.config import Resources
from automl_kd.errors import ConfigError


@pytest.fixture
def cluster(monkeypatch):
    """Sets which machines Ray says that it has."""

    def has(*machines: dict[str, float]) -> None:
        nodes = [{"Alive": True, "Resources": one, "NodeManagerAddress": "127.0.0.1"} for one in machines]
        gone = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}, "NodeManagerAddress": "127.0.0.1"}
        monkeypatch.setattr(ray, "nodes", lambda: [*nodes, gone])

    return has


@pytest.mark.parametrize(
    ("resources", "room"),
    [
        (Resources(), 2),
        (Resources(gpus=0.5), 4),
        (Resources(gpus=0.5, max_concurrent=3), 3),
        (Resources(gpus=0.5, max_concurrent=9), 4),
        (Resources(gpus=0.6), 2),
        (Resources(device="cpu", cpus=3), 4),
        (Resources(workers=2, cpus=4), 1),
        (Resources(gpus=2), 1),  # there is no room yet: one waits for it
    ],
)
def test_trials_at_once_by_hand(cluster, resources, room):
    cluster({"CPU": 8.0, "GPU": 1.0}, {"CPU": 8.0, "GPU": 1.0})
    assert concurrency(resources) == room


def test_the_device_is_the_best_there_is_unless_it_is_named(cluster):
    cluster({"CPU": 4.0})
    assert (device_of(Resources()), device_of(Resources(device="cuda"))) == ("cpu", "cuda")
    cluster({"CPU": 4.0}, {"CPU": 4.0, "GPU": 1.0})
    assert (device_of(Resources()), device_of(Resources(device="cpu"))) == ("cuda", "cpu")
    assert resources_per_trial(Resources(cpus=2, gpus=0.5)) == {"cpu": 2, "gpu": 0.5}
    assert resources_per_trial(Resources(device="cpu")) == {"cpu": 1, "gpu": 0}


@pytest.mark.parametrize("resources", [Resources(cpus=8), Resources(device="cuda", gpus=0.5)])
def test_a_trial_for_which_there_is_no_room_is_refused_at_once_where_no_machine_will_come(cluster, resources):
    cluster({"CPU": 4.0})
    sentence = r"^a trial asks for .* but Ray has 4 CPUs and 0 GPUs; lower trial\.cpus"
    with pytest.raises(ConfigError, match=sentence), wait_for_resources(resources, 3, say=pytest.fail):
        pytest.fail("there is no room")


def test_where_there_is_room_the_device_is_decided(cluster):
    cluster({"CPU": 4.0, "GPU": 1.0})
    with wait_for_resources(Resources(), 3, say=pytest.fail) as found:
        assert found == Resources(device="cuda")


@pytest.mark.parametrize(("module", "maker"), [("torch.backends.mps", "Apple"), ("torch.xpu", "Intel")])
def test_a_gpu_that_is_not_used_is_named(cluster, monkeypatch, module, maker):
    cluster({"CPU": 4.0})
    monkeypatch.setattr(f"{module}.is_available", lambda: True)
    said: list[str] = []
    with wait_for_resources(Resources(), 3, said.append) as found:
        assert found.device == "cpu"
    (sentence,) = said
    assert sentence.startswith(f"trials run on CPUs: the {maker} GPU of this machine is not used")
    with wait_for_resources(found, 3, pytest.fail):  # said once
        pass


def test_a_gpu_that_torch_cannot_use_is_left_alone_here_and_not_in_a_cluster(cluster, monkeypatch):
    cluster({"CPU": 4.0, "GPU": 1.0})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert device_of(Resources()) == "cuda"
    monkeypatch.setattr(sessions, "is_private", lambda: True)
    said: list[str] = []
    with wait_for_resources(Resources(), 3, said.append) as found:
        assert found.device == "cpu"
    assert said == ["trials run on CPUs: torch cannot use the GPU of this machine; install a build of torch for it"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert device_of(Resources()) == "cuda"


@pytest.mark.ray
def test_a_running_ray_is_used_and_left_running(ray_session):
    with session():
        assert ray.cluster_resources()["CPU"] == 4
    assert ray.is_initialized()


@pytest.mark.parametrize(
    ("resources", "gibibytes", "ready"),
    [
        (Resources(device="cpu"), 32, True),
        (Resources(device="cpu"), 16, False),  # 8 workers would take half of it
        (Resources(device="cpu", cpus=2), 32, False),
        (Resources(device="cpu", max_concurrent=4), 32, False),
        (Resources(device="cpu", max_concurrent=8), 32, True),
        (Resources(device="cpu", workers=2), 32, False),
        (Resources(device="cuda"), 32, False),
    ],
)
def test_workers_make_themselves_ready_where_all_will_train(monkeypatch, resources, gibibytes, ready):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr(sessions, "machine_bytes", lambda: gibibytes * 2**30)
    assert each_processor_trains(resources) is ready
