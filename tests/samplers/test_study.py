"""The study on disk: what Optuna reads from it is what was put in, once, whatever was left there before."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from automl_kd.samplers import SearchObjective
from automl_kd.samplers.study import StudyFile, Tried, storage
from automl_kd.space import Architecture, sample_architecture
from tests.samplers.toy import BITS

ACCURACY = (SearchObjective("val_accuracy", maximise=True),)
BOTH = (*ACCURACY, SearchObjective("params", maximise=False))


def point(seed: int) -> Architecture:
    return sample_architecture(BITS, np.random.default_rng(seed))


DONE = Tried(point(0), "complete", (0.75,), {1: 0.5, 2: 0.75}, {"proposal": 0})
STOPPED = Tried(point(1), "stopped", (0.25,), {1: 0.25}, {"proposal": 1})
FAILED = Tried(point(2), "failed", None, {}, {"proposal": 2, "error": "RuntimeError: no"})
TRIED = {"a": DONE, "b": STOPPED, "c": FAILED}


def study_file(tmp_path, objectives=ACCURACY) -> StudyFile:
    return StudyFile(tmp_path / "study.journal", "mine", BITS, objectives)


def read(tmp_path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="mine", storage=storage(tmp_path / "study.journal")).trials


def keys(tmp_path) -> list[str]:
    return [trial.user_attrs["key"] for trial in read(tmp_path)]


@pytest.mark.parametrize("at_once", [True, False])
def test_optuna_reads_what_was_put_in(tmp_path, at_once):
    file = study_file(tmp_path)
    file.begin(TRIED if at_once else {})
    for key, tried in TRIED.items():
        file.add(key, tried)
    done, stopped, failed = read(tmp_path)
    assert (done.state, done.value, done.params) == (TrialState.COMPLETE, 0.75, point(0).as_dict())
    assert done.intermediate_values == {1: 0.5, 2: 0.75}
    assert (stopped.state, stopped.value) == (TrialState.PRUNED, 0.25)
    assert (failed.state, failed.value, failed.user_attrs["error"]) == (TrialState.FAIL, None, "RuntimeError: no")
    study = optuna.load_study(study_name="mine", storage=storage(tmp_path / "study.journal"))
    assert (study.best_value, study.best_trial.user_attrs["proposal"]) == (0.75, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["study.journal"]


@pytest.mark.parametrize("keep", ["all but one byte", "half of the last line", "a byte of the last line"])
def test_a_last_line_that_was_cut_short_is_dropped_and_nothing_is_lost(tmp_path, keep):
    study_file(tmp_path).begin({"a": DONE, "b": STOPPED})
    content = (tmp_path / "study.journal").read_bytes()
    last = content.rstrip(b"\n").rfind(b"\n") + 1
    ends = {"all but one byte": len(content) - 1, "half of the last line": (last + len(content)) // 2}
    (tmp_path / "study.journal").write_bytes(content[: ends.get(keep, last + 1)])
    file = study_file(tmp_path)
    file.begin({"a": DONE, "b": STOPPED})
    file.add("c", FAILED)
    assert keys(tmp_path) == ["a", "b", "c"]


@pytest.mark.parametrize("line", [b"{}\n", b"[]\n", b"null\n", b'{"op_code": 99}\n', b"\xff\n", b"7" * 5000 + b"\n"])
def test_a_line_of_another_kind_has_the_file_written_anew(tmp_path, line):
    study_file(tmp_path).begin({"a": DONE})
    (tmp_path / "study.journal").write_bytes((tmp_path / "study.journal").read_bytes() + line)
    study_file(tmp_path).begin(TRIED)
    assert keys(tmp_path) == ["a", "b", "c"]


def test_several_objectives_have_their_directions(tmp_path):
    file = study_file(tmp_path, BOTH)
    file.begin({"a": Tried(point(0), "complete", (0.75, 100.0), {1: 0.5}, {})})
    study = optuna.load_study(study_name="mine", storage=storage(tmp_path / "study.journal"))
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.trials[0].values == [0.75, 100.0]


def test_a_later_sitting_adds_what_is_new_and_doubles_nothing(tmp_path):
    study_file(tmp_path).begin({"a": DONE})
    first = (tmp_path / "study.journal").read_bytes()
    later = study_file(tmp_path)
    later.begin({"a": DONE, "b": STOPPED})
    assert (tmp_path / "study.journal").read_bytes().startswith(first)
    later.add("b", STOPPED)
    assert keys(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("left", ["another value", "another trial", "twice", "torn", "no study", "a lock"])
def test_a_file_that_says_anything_else_is_written_anew(tmp_path, left):
    path = tmp_path / "study.journal"
    file = study_file(tmp_path)
    file.begin({"a": Tried(point(0), "complete", (0.5,), {}, {})} if left == "another value" else TRIED)
    if left == "another trial":
        file.add("d", Tried(point(3), "complete", (0.9,), {}, {}))
    if left == "twice":
        file.study().add_trial(file.trial("a", DONE))
    if left == "torn":
        path.write_bytes(path.read_bytes()[:-40] + b"\n{}\n")
    if left == "no study":
        path.write_text("not a journal")
    if left == "a lock":
        (tmp_path / "study.journal.lock").symlink_to(path)
    study_file(tmp_path).begin(TRIED)
    assert keys(tmp_path) == ["a", "b", "c"]
    assert [trial.value for trial in read(tmp_path)] == [0.75, 0.25, None]


def test_a_trial_that_is_tried_again_takes_the_place_of_its_failure(tmp_path):
    file = study_file(tmp_path)
    file.begin(TRIED)
    file.add("c", Tried(point(2), "complete", (0.1,), {}, {}))
    assert keys(tmp_path) == ["a", "b", "c"]
    assert read(tmp_path)[2].value == 0.1


@pytest.mark.parametrize("values", [None, (float("nan"),)])
def test_a_trial_without_a_value_has_failed_to_optuna(tmp_path, values):
    file = study_file(tmp_path)
    file.begin({"a": Tried(point(0), "complete", values, {}, {})})
    assert read(tmp_path)[0].state == TrialState.FAIL
