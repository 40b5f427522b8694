"""What every method promises: one suite over the whole table."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import sys

import pytest

from automl_kd.errors import ConfigError, StopTrial
from automl_kd.methods import METHODS, carry_out, make_method
from automl_kd.methods.handover import load_student
from automl_kd.training import loop
from automl_kd.training.evaluate import evaluate
from tests import tiny

EVERY = pytest.mark.parametrize("name", METHODS)
PLAIN = pytest.mark.parametrize("name", ["scratch", "kd", "distil", "prokt"])
"""Those that train any student as it is, on networks without stages; the others promise the same in their own files."""

MACS = {"scratch": 3 * 100, "kd": 3 * 100 + 1000, "distil": 3 * 100 + 1000, "prokt": 3 * 100 + 4 * 1000}
"""For a student of 100 multiply-adds and a teacher of 1000: forward and twice as much backward, the teacher forward."""


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
def test_stopping_passes_through_and_a_stopped_trial_goes_on(tmp_path, name: str):
    spec = tiny.taught(tmp_path, name)
    recorder = tiny.Recorder(stop=2)
    with pytest.raises(StopTrial):
        carry_out(spec, recorder, tiny.place(tmp_path, spec))
    assert list(recorder.seen) == [1, 2]
    again = tiny.Recorder()
    carry_out(spec, again, tiny.place(tmp_path, spec))
    assert list(again.seen) == [1, 2, 3]


@PLAIN
def test_every_report_carries_costs_and_the_last_one_everything(tmp_path, name: str):
    spec, recorder = tiny.taught(tmp_path, name), tiny.Recorder()
    carry_out(spec, recorder, tiny.place(tmp_path, spec))
    first, *_, last = recorder.seen.values()
    # 88 training images; width 4: 36 weights at 64 places, 4 x 3 of the classifier, 36 + 8 + 15 parameters; the
    # teacher has width 16
    own, guide = 64 * 36 + 12, 64 * 144 + 48
    each = make_method(name, {}).macs(own, guide)
    assert (first["params"], first["macs"], first["train_macs"]) == (59, own, 88 * each)
    assert last["train_macs"] == 3 * 88 * each
    assert not {"test_accuracy", "latency_ms"} & set(first)
    assert {"test_accuracy", "test_accuracy_best", "latency_ms", "latency_iqr_ms", "best_epoch"} <= set(last)


@PLAIN
def test_a_finished_trial_reports_again_without_training(tmp_path, monkeypatch, name: str):
    spec, first, again = tiny.taught(tmp_path, name), tiny.Recorder(), tiny.Recorder()
    carry_out(spec, first, tiny.place(tmp_path, spec))
    monkeypatch.setattr(loop.Run, "train_step", None)
    carry_out(spec, again, tiny.place(tmp_path, spec))
    assert again.seen == first.seen


@PLAIN
def test_the_student_is_handed_over_as_it_was_trained(tmp_path, name: str):
    spec, recorder = tiny.taught(tmp_path, name), tiny.Recorder()
    carry_out(spec, recorder, tiny.place(tmp_path, spec))
    data = tiny.loaded(tmp_path)
    last = recorder.seen[3]
    for best, reported in ((False, "test_accuracy"), (True, "test_accuracy_best")):
        student = load_student(tiny.place(tmp_path, spec).trial, best=best)
        assert evaluate(student, data, data.test, spec.recipe)[0] == last[reported]


@PLAIN
def test_the_same_seed_gives_the_same_numbers_and_another_one_others(tmp_path, name: str):
    spec = tiny.taught(tmp_path, name)
    seen = []
    for folder, seed in (("one", 0), ("two", 0), ("three", 1)):
        recorder = tiny.Recorder()
        place = dataclasses.replace(tiny.place(tmp_path, spec), trial=tmp_path / folder)
        carry_out(dataclasses.replace(spec, seed=seed), recorder, place)
        seen.append([metrics["train_loss"] for metrics in recorder.seen.values()])
    assert seen[0] == seen[1] != seen[2]
