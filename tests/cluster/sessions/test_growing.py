"""Clusters that start machines when asked: recognised, asked, waited for, and used as they grow."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from automl_kd.cluster.sessions import growing, session
from automl_kd.cluster.sessions.growing import has_kinds, is_starting, remembered, wait_for_resources
from automl_kd.config import Resources
from automl_kd.errors import ConfigError
from tests import ROOT

ALONE = {"node_type_mapping": {"ffff": "node_ffff"}, "pending_launches": {}, "pending_nodes": []}
"""What a head reports that was started by hand, as Ray 2.60 does."""

HEAD = {"memory": 1e9}
GPU = {"CPU": 8.0, "GPU": 1.0}


def test_machines_of_described_kinds_are_started_by_somebody():
    assert not has_kinds(ALONE)
    assert not has_kinds({})
    assert has_kinds({"node_type_mapping": {"10.0.0.1": "head"}})


def test_what_is_not_known_may_be_on_its_way():
    assert not is_starting(ALONE)
    assert is_starting({})
    assert is_starting({**ALONE, "pending_launches": {"gpu": 2}})
    assert is_starting({**ALONE, "pending_nodes": [["10.0.0.2", "gpu", "setting-up"]]})


@dataclass
class Clock:
    """Time goes on when somebody sleeps; at its hours machines join."""

    joins: dict[float, Sequence[dict[str, float]]]
    now: float = 0.0
    asked: list[tuple[float, int, dict[str, float]]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def machines(self) -> list[dict[str, float]]:
        return [HEAD, *(one for hour, some in self.joins.items() if hour <= self.now for one in some)]

    def request(self, bundles: list[dict[str, float]]) -> None:
        self.asked.append((self.now, len(bundles), bundles[0] if bundles else {}))


@pytest.fixture
def clock(monkeypatch):
    def begin(report: dict[str, Any] = ALONE, **joins: Sequence[dict[str, float]]) -> Clock:
        made = Clock({float(hour.removeprefix("at")): some for hour, some in joins.items()})
        for module in (growing, session):
            monkeypatch.setattr(module, "machines", made.machines)
        monkeypatch.setattr(growing, "time", made)
        monkeypatch.setattr(growing, "request_resources", made.request)
        monkeypatch.setattr(growing, "grows", lambda: True)
        monkeypatch.setattr(growing, "status", lambda: report)
        monkeypatch.setattr("ray.is_initialized", lambda: True)
        return made

    return begin


def test_a_head_of_no_processors_is_waited_at_until_a_machine_joins(clock):
    day = clock(at40=[GPU])
    with wait_for_resources(Resources(), 4, day.said.append) as found:
        assert (found.device, day.now) == ("cuda", 40.0)
    assert day.asked == [(0.0, 4, {"CPU": 1, "GPU": 1.0}), (40.0, 0, {})]
    assert day.said == [
        "waiting for machines, 0 of 4: each trial needs 1 CPU and 1 GPU (trial.wait_minutes = 20; after Ctrl-C the "
        "same command continues)"
    ]


def test_a_head_with_processors_does_not_train_on_them_while_gpus_are_being_started(clock):
    day = clock({**ALONE, "pending_launches": {"gpu": 1}}, at0=[{"CPU": 8.0}], at300=[GPU])
    with wait_for_resources(Resources(), 4, day.said.append) as found:
        assert (found.device, day.now) == ("cuda", 300.0)


def test_where_no_gpu_is_being_started_trials_run_on_processors_and_that_is_said(clock):
    day = clock(at0=[{"CPU": 8.0}])
    with wait_for_resources(Resources(max_concurrent=2), 4, day.said.append) as found:
        assert (found.device, day.now) == ("cpu", 60.0)
    assert [count for _, count, _ in day.asked] == [2, 2, 0]
    assert day.said[1:] == [
        "no machine with a GPU joins, so trials run on CPUs; trial.device = 'cuda' would wait for one"
    ]


def test_machines_that_do_not_come_are_waited_for_so_long_and_no_longer(clock):
    day = clock(at0=[{"CPU": 8.0}])
    resources = Resources(device="cuda", gpus=2, workers=2, wait_minutes=5)
    with (
        pytest.raises(ConfigError, match=r"^each of the 2 workers of a trial asks for 1 CPU and 2 GPUs, but no machin"),
        wait_for_resources(resources, 3, day.said.append),
    ):
        pytest.fail("there is no room")
    assert day.asked == [(0.0, 6, {"CPU": 1, "GPU": 2}), (300.0, 0, {})]


def test_who_interrupts_the_wait_asks_for_nothing_any_more(clock, monkeypatch):
    day = clock()

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(day, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt), wait_for_resources(Resources(), 3, day.said.append):
        pytest.fail("there is no room")
    assert day.asked[-1] == (0.0, 0, {})


def test_how_many_there_are_is_asked_once_a_second(clock):
    day, answers = clock(), iter([1, 2])
    count = remembered(lambda: next(answers))
    assert [count(), count()] == [1, 1]
    day.sleep(1.0)
    assert [count(), count()] == [2, 2]


@pytest.mark.ray
def test_trials_wait_for_the_first_machine_and_spread_to_those_that_join_later(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "tests.cluster.sessions.growing_driver", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["asked"] == [[{"CPU": 1, "GPU": 1.0}] * 4, []]
    assert found["said"][0].startswith("waiting for machines, 0 of 4: each trial needs 1 CPU and 1 GPU")
    assert found["ended"] == ["complete"] * 4
    assert found["most"] == 2
