"""What a step of training keeps in memory, against what the layers of a small network are known to keep."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from automl_kd import experiment
from automl_kd.cluster.sessions.session import trains_here
from automl_kd.config import Resources
from automl_kd.data import Batch, Split
from automl_kd.experiment import Roots
from automl_kd.experiment.preflight import memory
from automl_kd.experiment.preflight.memory import TrainingMemory, kept_for_backward, largest_rows, sentence_of_memory
from tests import tiny
from tests.experiment.test_networks import Notes


def test_each_map_that_a_gradient_needs_is_counted_once():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False), nn.ReLU(), nn.Linear(10, 3, bias=False))
    for batch in (2, 8):
        images, labels = torch.randn(batch, 1, 8, 8), torch.zeros(batch, dtype=torch.int64)
        # the images, what the ReLU returns (which the second matrix reads too), log probabilities, and the labels
        expected = 4 * batch * (64 + 10 + 3) + 8 * batch
        kept = kept_for_backward(network, Batch(images, labels, torch.arange(batch), epoch=1))
        assert 0 <= kept - expected <= 8  # the number of labels that count


def test_the_longest_texts_are_looked_at():
    lengths = torch.tensor([3, 9, 4, 8, 3, 3, 5, 6, 7, 2])
    tokens = torch.ones(10, 9, dtype=torch.int32)
    texts = Split(tokens, torch.zeros(10, dtype=torch.int64), torch.arange(10), lengths=lengths)
    assert largest_rows(texts).tolist() == [1, 3, 8, 7, 6, 2, 0, 4]
    assert largest_rows(tiny.dataset().train).tolist() == list(range(8))


def test_the_sentence_has_all_parts():
    found = TrainingMemory(kept=118e6, student=1.1e6, teacher=512, images=61e6, batch=64)
    assert sentence_of_memory(found) == (
        "a training of the baseline student needs about 180 MB: 118 MB kept for the backward pass of a batch of 64, "
        "1.10 MB of the student, its gradients and optimizer, 512 B of the teacher, 61.0 MB of all images"
    )


class Begun(Exception):
    """Ray was about to start."""


@pytest.mark.parametrize(
    ("trial", "bytes_there", "at_once"),
    [
        (Resources(device="cpu"), 4 * 10**9, 4),
        (Resources(), 4 * 10**9, 4),
        (Resources(device="cpu"), 10**8, 1),
        (Resources(device="cpu", workers=2), 4 * 10**9, 2),
        (Resources(device="cpu", cpus=4), 4 * 10**9, 0),  # room for four
        (Resources(device="cpu"), 10**12, 0),
        (Resources(device="cpu", max_concurrent=9), 4 * 10**9, 9),
        (Resources(device="cuda"), 4 * 10**9, 0),
    ],
)
def test_no_more_trials_run_at_once_than_memory_holds(tmp_path, monkeypatch, trial, bytes_there, at_once):
    given: list[int] = []

    def begin(_address: str, resources: Resources) -> None:
        given.append(resources.max_concurrent)
        raise Begun

    monkeypatch.setattr(experiment, "session", begin)
    monkeypatch.setattr(memory, "machine_bytes", lambda: bytes_there)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    notes = Notes()
    with pytest.raises(Begun):
        experiment.run_stages(tiny.experiment(trial=trial), Roots(results=tmp_path, data=tmp_path), notes)
    assert given == [at_once]
    said = [one for one in notes.said if one.endswith("trial.max_concurrent sets another number")]
    assert len(said) == (at_once not in {0, trial.max_concurrent})


def test_a_cluster_has_other_machines(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert trains_here(Resources(), "")
    assert not trains_here(Resources(), "10.0.0.1:6379")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert not trains_here(Resources(), "")
