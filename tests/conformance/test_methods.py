"""What every method promises: one suite over the whole table."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import sys
from itertools import pairwise

import pytest
import torch
from torch import nn

from automl_kd.errors import ConfigError
from automl_kd.methods import METHODS, make_method, run_trial
from automl_kd.methods.model_card import load_trained_student
from automl_kd.models import build_model
from automl_kd.space import InputShape
from automl_kd.training import trial
from automl_kd.training.evaluate import evaluate
from tests import tiny
from tests.conformance.trials import EPOCHS, difference, one_of_each_method, quick, run, spec_of

__all__ = ["quick"]

pytestmark = pytest.mark.usefixtures("quick")

EVERY = pytest.mark.parametrize("name", METHODS)
PLAIN = pytest.mark.parametrize("name", ["scratch", "kd", "weighted_losses", "prokt"])
"""Those whose work is the same at every step and has no part that depends on the networks' maps."""

TRAINED_ON = {"distpro_search": 0.8, "lkd": 0.9}
"""The part of the training images that the student sees where a method holds some out."""

MACS = {"scratch": 3 * 100, "kd": 3 * 100 + 1000, "weighted_losses": 3 * 100 + 1000, "prokt": 3 * 100 + 1750}
"""For a student of 100 multiply-adds and a teacher of 1000: forward and twice as much backward, the teacher forward.

ProKT's teacher takes a step and a pass on every fourth batch, and a pass on the others.
"""


@EVERY
def test_the_method_and_its_module_say_what_they_are(name: str):
    for described in (METHODS[name], sys.modules[METHODS[name].__module__]):
        assert len((inspect.getdoc(described) or "").splitlines()[0].split()) >= 4


@PLAIN
def test_cost_by_hand(name: str):
    assert make_method(name, {}).macs(100, 1000) == MACS[name]


@EVERY
def test_options_are_frozen_fields_with_defaults(name: str):
    method = make_method(name, {})
    assert dataclasses.is_dataclass(method)
    assert method == copy.deepcopy(method)
    for item in dataclasses.fields(method):
        assert make_method(name, {item.name: getattr(method, item.name)}) == method
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(method, item.name, 0)


@EVERY
def test_an_unknown_option_is_one_sentence(name: str):
    with pytest.raises(ConfigError, match=f"^options of method '{name}': unknown key 'warmth'; [^.]*$"):
        make_method(name, {"warmth": 1.0})


@EVERY
def test_an_option_of_the_wrong_type_is_one_sentence_that_names_it(name: str):
    for item in dataclasses.fields(METHODS[name]):  # type: ignore[arg-type]  # every entry is a dataclass
        with pytest.raises(ConfigError, match=rf"^options of method '{name}': {item.name} = \[\] does not fit[^.]*$"):
            make_method(name, {item.name: []})  # type: ignore[dict-item]  # the mistake


@PLAIN
def test_every_report_carries_costs_and_the_last_one_everything(tmp_path, name: str):
    spec, recorder = tiny.taught(tmp_path, name), tiny.Recorder()
    run_trial(spec, recorder, tiny.place(tmp_path, spec))
    first, *_, last = recorder.seen.values()
    # 88 training images; width 4: 36 weights at 64 places, 4 x 3 of the classifier, 36 + 8 + 15 parameters; the
    # teacher has width 16
    own, guide = 64 * 36 + 12, 64 * 144 + 48
    each = make_method(name, {}).macs(own, guide)
    assert (first["params"], first["macs"], first["train_macs"]) == (59, own, 88 * each)
    assert last["train_macs"] == 3 * 88 * each
    assert not {"test_accuracy", "latency_ms"} & set(first)
    assert {"test_accuracy", "test_accuracy_best", "latency_ms", "latency_iqr_ms", "best_epoch"} <= set(last)


@one_of_each_method
def test_a_trial_reports_its_costs_and_hands_over_the_student_that_it_measured(tmp_path, name: str):
    spec = spec_of(name, tmp_path)
    recorder = run(spec, tmp_path, "trial")
    assert list(recorder.seen) == list(range(1, EPOCHS + 1))
    *earlier, last = recorder.seen.values()
    assert all(not {"test_accuracy", "latency_ms"} & metrics.keys() for metrics in earlier)
    seconds = [metrics["seconds"] for metrics in recorder.seen.values()]
    assert seconds == sorted(seconds)
    # each epoch of training costs at least three passes of the student
    images = 88 * TRAINED_ON.get(spec.method, 1.0)
    spent = [0.0, *(metrics["train_macs"] for metrics in recorder.seen.values())]
    assert all(two - one >= 3 * images * last["macs"] for one, two in pairwise(spent))

    data = tiny.loaded(tmp_path)
    for best, reported in ((False, "test_accuracy"), (True, "test_accuracy_best")):
        student = load_trained_student(tmp_path / "trial", best=best)
        assert evaluate(student, data, data.test, spec.recipe)[0] == last[reported]
        assert sum(parameter.numel() for parameter in student.parameters()) == last["params"]


@one_of_each_method
def test_a_fixed_teacher_is_left_as_it_was(tmp_path, monkeypatch, name: str):
    spec, built = spec_of(name, tmp_path), []

    def remembered(model: str, shape: InputShape) -> nn.Module:
        built.append(build_model(model, shape))
        return built[-1]

    monkeypatch.setattr(trial, "build_model", remembered)
    run(spec, tmp_path, "trial")
    assert bool(built) == make_method(spec.method, spec.options).needs_teacher
    for teacher in built:
        before = torch.load(tmp_path / "teachers" / tiny.lesson().key / "student.pt", weights_only=True)
        moved = difference(before, dict(teacher.state_dict()))
        assert bool(moved) == (spec.method == "prokt"), moved  # the only method that trains its teacher
        if not moved:
            assert not teacher.training
            assert all(parameter.grad is None for parameter in teacher.parameters())


@one_of_each_method
def test_the_same_seed_gives_the_same_numbers_and_another_one_others(tmp_path, name: str):
    seen = []
    for folder, seed in (("one", 0), ("two", 0), ("three", 1)):
        recorder = run(spec_of(name, tmp_path, seed=seed), tmp_path, folder)
        seen.append([metrics["train_loss"] for metrics in recorder.seen.values()])
    assert seen[0] == seen[1] != seen[2]
