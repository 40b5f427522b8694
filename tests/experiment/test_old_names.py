"""A results folder that an earlier release began goes on: its record, proposals and rows have that release's names."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest

from automl_kd import spec_names
from automl_kd.config import Experiment, SearchSection, add_new_fields, to_record
from automl_kd.errors import ResultError
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.stages.scoring import Scoring
from automl_kd.experiment.stages.search import Searching, search_spec
from automl_kd.results.store.folder import check_folder, open_folder
from automl_kd.results.store.table import ResultTable
from automl_kd.space import Architecture
from automl_kd.spec import Recipe, TeacherCacheOptions
from tests import tiny
from tests.results import synthetic

RECORD = """
{"name": "tiny", "space": "tests.tiny:SPACE", "method": "kd", "options": {}, "vary": {"method": ["kd", "distil"],
"method.losses.kd": [0.5, 1.0]}, "seed": 0, "data": {"name": "tests.tiny:source", "train_images": 0, "validation":
0.2, "split_seed": 0, "resolution": 0, "max_value": 0.0, "digest": "726185ec9766862e"}, "teacher": {"model":
"tests.tiny:teacher", "checkpoint": "", "digest": "", "recipe": {"epochs": 2, "batch_size": 16, "optimiser": "sgd",
"lr": 0.05, "momentum": 0.9, "nesterov": true, "weight_decay": 0.0005, "schedule": "cosine", "milestones": [0.625,
0.75, 0.875], "gamma": 0.1, "warmup": 0.0, "label_smoothing": 0.0, "clip_norm": 0.0, "amp": true, "channels_last":
true, "augment": "auto", "accumulate": 1, "norm_shards": 1}, "seed": 0, "outputs": "exact", "weights": ""},
"recipe": {"epochs": 3, "batch_size": 16, "optimiser": "adamw", "lr": 0.05, "momentum": 0.9, "nesterov": true,
"weight_decay": 0.0005, "schedule": "cosine", "milestones": [0.625, 0.75, 0.875], "gamma": 0.1, "warmup": 0.0,
"label_smoothing": 0.0, "clip_norm": 0.0, "amp": true, "channels_last": true, "augment": "auto", "accumulate": 2,
"norm_shards": 1}, "budget": {"params": 0, "macs": 0, "latency_ms": 0.0}, "search": {"proposer": "tpe", "options":
{}, "trials": 3, "objectives": ["val_accuracy"], "screen": [], "pool": 20, "probe_images": 64, "draws": 2,
"scheduler": "none", "grace_epochs": 1, "reduction": 3.0, "median_trials": 3, "interval": 5, "quantile": 0.25,
"resample": 0.25, "perturb": {}}, "trial": {"device": "cpu", "cpus": 1, "gpus": 1.0, "concurrent": 2,
"wait_minutes": 20.0, "retries": 2, "workers": 1, "placement": "pack", "timeout_minutes": 0.0, "retry_failed":
false, "loggers": []}, "bank": {"keep": "taps", "limit_gb": 10.0}, "finalists": {"seeds": [0], "count": 1, "epochs":
0, "baseline": {}}, "contest": {"reference": "kd", "contenders": [], "tuning": 0.5, "tuning_seeds": 1}, "table":
{"seeds": 200, "queries": 300, "compare": [30, 100, 300], "tasks": [], "runs": [], "scores": {}, "untrained":
{"scores": [], "queries": 1000, "population": 36, "tournament": 8, "parents": 1, "top": 5}, "tradeoff": {"devices":
[], "searchers": ["random", "nsga2", "scalarised"], "queries": 300, "screen": "", "pool": 20, "points": 10.0}},
"proxy": {"scores": "", "dataset": "", "statistics": [], "without": [], "choose": "", "labels": 1000, "evaluations":
2000, "terms": 5, "members": 6, "penalty": 0.0, "searches": [], "compare_labels": [], "s1": "", "s1_scores": ""}}
"""
"""The experiment.json of an earlier release, word for word."""

PROPOSALS = """\
{"method": "distil", "method.losses.kd": 0.5, "width": 4}
{"method": "kd", "width": 2}
"""


@pytest.fixture
def lab(tmp_path) -> ExperimentContext:
    """The same experiment under today's names, in the folder that the earlier release began."""
    plain = tiny.experiment(
        method="kd",
        hyperparameters={"method": ("kd", "weighted_losses"), "method.losses.kd": (0.5, 1.0)},
        search=SearchSection(sampler="tpe", trials=3, scheduler="none", repeats=2),
        recipe=Recipe(epochs=3, batch_size=16, optimizer="adamw", grad_accumulation=2),
        teacher_cache=TeacherCacheOptions(keep="features"),
    )
    lab = prepare_experiment(plain, Roots(results=tmp_path / "results", data=tmp_path), Silent())
    record = json.loads(RECORD)
    record["data"]["digest"] = lab.experiment.data.digest  # of images that torch draws
    lab.folder.mkdir(parents=True)
    (lab.folder / "experiment.json").write_text(json.dumps(record))
    (lab.folder / "proposals.jsonl").write_text(PROPOSALS)
    return lab


def test_the_record_is_that_of_the_same_experiment(lab):
    record = to_record(lab.experiment)
    upgrade = partial(add_new_fields, Experiment)
    check_folder(lab.folder, record, upgrade)
    open_folder(lab.folder, record, upgrade)
    assert json.loads((lab.folder / "experiment.json").read_text()) == record


def test_another_experiment_is_told_from_it_under_the_new_name(lab):
    other = replace(lab.experiment, search=replace(lab.experiment.search, sampler="random"))
    with pytest.raises(ResultError, match=r'its search\.sampler is "tpe", here it is "random"'):
        check_folder(lab.folder, to_record(other), partial(add_new_fields, Experiment))


def test_its_proposals_are_the_trials_that_come_first(lab):
    searching = Searching(lab)
    first, second = (searching.ask(index) for index in range(2))
    assert first is not None
    assert second is not None
    assert (first.spec.method, dict(first.spec.options)) == ("weighted_losses", {"losses": "kd=0.5"})
    assert second.spec.method == "kd"
    again = lab.proposal(Architecture.of({"width": 4, "method": "weighted_losses", "method.losses.kd": 0.5}))
    assert search_spec(lab, again).key == first.spec.key


def test_a_point_is_renamed_in_its_method_alone():
    point = {"method": "distil", "recipe": 3, "teacher": True}
    assert spec_names.current_point(point) == {**point, "method": "weighted_losses"}


def test_its_rows_name_methods_as_they_are_called_now(tmp_path):
    table = ResultTable(tmp_path)
    table.append(synthetic.row(key="a1", method="distil"))
    table.append(synthetic.row(key="b2", method="kd"))
    assert sorted(table.read()["method"]) == ["kd", "weighted_losses"]
    table.fold()
    assert sorted(table.read(["method"])["method"]) == ["kd", "weighted_losses"]


def test_a_file_of_scores_keeps_its_name():
    one = Scoring(space="search_spaces.resnet:SPACE", proxies=("naswot",))
    two = replace(one, proxies=("naswot", "synflow"), repeats=3, sample=None)
    assert (one.digest("abc"), two.digest("abc")) == ("b8c0abf31d6fb2ea", "16c3a20a2290b57f")


def test_what_is_hashed_of_a_search_of_a_table_has_the_old_names():
    run = {"sampler": "gp", "trials": 3, "proxy_filter": "", "pool": 20}
    assert spec_names.stored_section(("table", "runs", "*"), run) == {
        "kind": "gp",
        "queries": 3,
        "screen": "",
        "pool": 20,
    }
    search = {"sampler": "tpe", "trials": 0, "options": {"sampler": 1}}
    assert spec_names.stored_section(("proxy", "searches", "*"), search) == {
        "proposer": "tpe",
        "evaluations": 0,
        "options": {"sampler": 1},
    }
