"""The search as a trial: the file that is left, exact resuming, the split, and the teacher left alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from automl_kd.data.division import set_apart
from automl_kd.errors import DivergedError, StopTrial
from automl_kd.methods.distpro import search as distpro_search
from automl_kd.methods.distpro.process import load_process
from automl_kd.methods.distpro.search import outer_batches
from automl_kd.methods.distpro.step import SearchStep
from automl_kd.training import trial
from tests import tiny
from tests.methods.distpro.trials import (
    PATHWAYS,
    equal,
    load,
    place,
    spec,
    stripes,  # noqa: F401 - a fixture
    trained,
    without_latency,
)


def test_a_search_leaves_its_process_and_its_picture(tmp_path):
    trained(tmp_path, "distpro_search", {}, "one")
    process = load_process(tmp_path / "one" / "process.json")
    # 96 - 19 = 77 images in batches of 20: 4 steps an epoch, each recorded.
    assert process.steps == len(process.axis) == 12
    assert (process.axis[0], process.axis[-1]) == (0, 1)
    assert len(process.pathways) == PATHWAYS
    assert ("norm", "pre_pool", "plain") in process.pathways
    assert process.alpha[0] != process.alpha[-1]
    assert (tmp_path / "one" / "process.svg").read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [{"interval": 3}, pytest.param({"order": "sequential", "style": "softmax"}, marks=pytest.mark.slow)],
)
def test_a_search_continues_bit_for_bit(tmp_path, options, stop):
    whole = trained(tmp_path, "distpro_search", options, "unbroken")
    with pytest.raises(StopTrial):
        trained(tmp_path, "distpro_search", options, "broken", stop=stop)
    rest = trained(tmp_path, "distpro_search", options, "broken")
    assert whole.seen == rest.seen
    one, two = (tmp_path / name for name in ("unbroken", "broken"))
    assert (one / "process.json").read_text() == (two / "process.json").read_text()
    assert equal(load(one / "student.pt"), load(two / "student.pt"))
    assert equal(*(without_latency(load(folder / "checkpoint.pt")) for folder in (one, two)))


def test_killed_within_an_epoch_a_search_continues_and_leaves_nothing_half_done(tmp_path, monkeypatch):
    whole = trained(tmp_path, "distpro_search", {}, "unbroken")
    take, steps = SearchStep.__call__, []

    def breaking(self, *given):
        steps.append(given)
        if len(steps) == 7:
            raise KeyboardInterrupt
        return take(self, *given)

    monkeypatch.setattr(SearchStep, "__call__", breaking)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, "distpro_search", {}, "broken")
    assert not (tmp_path / "broken" / "process.json").exists()
    assert trained(tmp_path, "distpro_search", {}, "broken").seen == whole.seen


def test_a_search_that_is_stopped_at_its_last_report_leaves_its_process(tmp_path):
    with pytest.raises(StopTrial):
        trained(tmp_path, "distpro_search", {}, "one", stop=3)
    assert load_process(tmp_path / "one" / "process.json").steps == 12


def test_the_teacher_is_left_as_it_was(tmp_path, monkeypatch):
    kept: list[tuple[nn.Module, dict[str, torch.Tensor]]] = []

    def remembered(setting):
        teacher = trial.load_teacher(setting)
        kept.append((teacher, {name: value.clone() for name, value in teacher.state_dict().items()}))
        return teacher

    monkeypatch.setattr(distpro_search, "load_teacher", remembered)
    trained(tmp_path, "distpro_search", {}, "one")
    ((teacher, before),) = kept
    assert equal(before, dict(teacher.state_dict()))
    assert not teacher.training


def test_images_are_held_out_by_class_and_seen_in_whole_passes(tmp_path):
    data = tiny.dataset()
    kept, held = set_apart(data, 0.25, 3)
    assert sorted([*kept.train.index.tolist(), *held.index.tolist()]) == list(range(96))
    assert held.labels.bincount().tolist() == [8, 8, 8]
    context = trial.TrialContext(spec("distpro_search", {}), place(tmp_path, "one"), kept, tiny.Net(tiny.SHAPE, 4))
    batches = outer_batches(replace(context, spec=spec("distpro_search", {}, batch_size=12)), held)
    first, second, third = (batches(number) for number in range(3))
    assert sorted([*first.index.tolist(), *second.index.tolist()]) == sorted(held.index.tolist())
    assert third.index.tolist() != first.index.tolist()
    assert torch.equal(batches(0).inputs, first.inputs)


def test_the_file_is_small_and_plain(tmp_path):
    trained(tmp_path, "distpro_search", {}, "one")
    record = json.loads((tmp_path / "one" / "process.json").read_text(encoding="utf-8"))
    assert set(record) == {
        "pathways",
        "style",
        "kd",
        "steps",
        "axis",
        "alpha",
        "slopes",
        "errors",
        "updates",
        "version",
    }


def test_a_search_that_diverges_says_so_and_leaves_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(SearchStep, "hypergradient", lambda self, *_: self.weighting.alpha * torch.nan)
    with pytest.raises(DivergedError, match="loss became nan in epoch 1"):
        trained(tmp_path, "distpro_search", {}, "one")
    assert not (tmp_path / "one" / "process.json").exists()
