"""A shared card: the part of its memory that a process may take, and what a trial leaves behind."""

from __future__ import annotations

import pytest
import torch
from ray import tune

from automl_kd.cluster.card import give_back, keep_to
from automl_kd.cluster.tune_runner import work
from automl_kd.cluster.tune_searcher import Assignment
from tests import tiny


@pytest.fixture
def calls(monkeypatch):
    """What is asked of a card that this machine need not have."""
    made: list[tuple[str, float]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: made.append(("empty_cache", 0.0)))
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda fraction: made.append(("fraction", fraction))
    )
    return made


@pytest.mark.parametrize(("share", "limits"), [(0.25, [0.25]), (0.0, []), (1.0, []), (2.0, [])])
def test_a_part_of_a_card_is_a_part_of_its_memory(calls, share, limits):
    keep_to(share)
    assert calls == [("fraction", one) for one in limits]


def test_without_a_card_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: pytest.fail("asked"))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda _: pytest.fail("asked"))
    keep_to(0.5)
    give_back()


@pytest.mark.parametrize("fault", ["", "other", "memory"])
def test_a_trial_keeps_to_its_part_and_leaves_nothing_in_the_actor(calls, monkeypatch, tmp_path, fault):
    monkeypatch.setattr(tune, "report", lambda metrics: None)
    spec = tiny.spec(method="tests.cluster.faulty:Faulty", options={"fault": fault})
    config = Assignment(spec=spec, paths=tiny.place(tmp_path, spec))
    monkeypatch.setattr("automl_kd.cluster.tune_runner.from_config", lambda _: config)
    given = {"workers": 1, "threads": 1, "timeout": 0.0, "each": {"CPU": 1, "GPU": 0.25}}
    if fault == "memory":  # may pass, so it is raised as well
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            work(given)
    else:
        work(given)
    assert calls == [("fraction", 0.25), ("empty_cache", 0.0)]
