"""Options that name files: pinned when an experiment is opened, so that a trial's key follows what they hold."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from automl_kd.errors import ConfigError
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.methods import METHODS, make_method, pin_files, run_trial
from automl_kd.methods.distpro.method import DistPro
from automl_kd.methods.distpro.process import Process, save_process
from tests import tiny

OPTIONS = {"stages": "pre_pool", "transforms": "plain", "clip": 0.0}


def write(path: Path, alpha: float) -> Path:
    pathways = (("pre_pool", "pre_pool", "plain"),)
    save_process(Process(pathways=pathways, style="scaled", kd=1.0, steps=1, axis=(0.0,), alpha=((alpha,),)), path)
    return path


def opened(root: Path, process: str) -> ExperimentContext:
    experiment = tiny.experiment(method="distpro", options={**OPTIONS, "process": process})
    return prepare_experiment(experiment, Roots(results=root / "results", data=root), Silent())


def key(root: Path, process: str) -> str:
    return tiny.spec(method="distpro", options=opened(root, process).experiment.options).key


def test_the_key_follows_the_content_not_the_place(tmp_path, monkeypatch):
    one, other = write(tmp_path / "one.json", 0.5), write(tmp_path / "b" / "other.json", 0.5)
    first = key(tmp_path, str(one))
    assert key(tmp_path, str(other)) == first
    monkeypatch.chdir(tmp_path / "b")
    assert key(tmp_path, "other.json") == key(tmp_path, os.path.relpath(one)) == first
    assert key(tmp_path, str(write(other, 0.25))) != first


def test_what_is_opened_again_stays_the_same(tmp_path):
    file = write(tmp_path / "one.json", 0.5)
    first = opened(tmp_path, str(file)).experiment
    assert str(first.options["process"]).startswith(f"{file}@sha256-")
    assert prepare_experiment(first, Roots(results=tmp_path, data=tmp_path), Silent()).experiment == first


def test_a_trial_reads_the_pinned_file_and_refuses_another_content(tmp_path):
    file = write(tmp_path / "one.json", 0.5)
    options = {**OPTIONS, "process": opened(tmp_path, str(file)).experiment.options["process"]}
    spec, recorder = tiny.taught(tmp_path, "distpro", options=options), tiny.Recorder()
    run_trial(spec, recorder, tiny.place(tmp_path, spec))
    assert list(recorder.seen) == [1, 2, 3]
    write(file, 0.25)
    with pytest.raises(ConfigError, match=f"^{file} has changed since it was named in this experiment"):
        run_trial(dataclasses.replace(spec, seed=9), recorder, tiny.place(tmp_path, spec))


def test_the_options_that_name_files():
    named = {
        (name, item.name)
        for name, method in METHODS.items()
        for item in dataclasses.fields(method)  # type: ignore[arg-type]  # every entry is a dataclass
        if item.metadata.get("file")
    }
    assert named == {("distpro", "process"), ("lkd", "loss")}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_that_names_no_file_stays_as_it_is(name):
    method = make_method(name, {})
    assert pin_files(method) == method


def test_a_file_that_is_missing_is_refused_by_the_options_name():
    with pytest.raises(ConfigError, match=r"^option process: no file could be read from /no/where.json: No such file"):
        pin_files(DistPro(process="/no/where.json"))
