"""Every experiment that ships can be read, and what it names exists."""

from __future__ import annotations

import re
import subprocess
import sys

import pandas as pd
import pytest

from automl_kd.config import load_experiment
from automl_kd.experiment.proposals import combine
from automl_kd.methods.hyperparameters import methods_of, settle_comparison, settle_hyperparameters, settle_options
from automl_kd.models import MODELS, load_space
from automl_kd.nasbench.config import KINDS, ProxyExperiment, TableExperiment
from automl_kd.proxies import expand_proxies
from automl_kd.results import ResultTable
from automl_kd.results.report.page import write_page
from automl_kd.results.store.table import experiment_folders
from automl_kd.results.store.text_baselines import TextBaseline, write_text_baselines
from automl_kd.samplers import SearchObjective, make_sampler
from automl_kd.space import Architecture, check_architecture
from tests import ROOT
from tests.results.synthetic import write_experiment

FILES = [ROOT / "automl_kd" / "quickstart.toml", *sorted((ROOT / "benchmarks").glob("*.toml"))]
EXPERIMENTS = [path for path in FILES if not path.name.startswith("nasbench201")]
FROM_FILES = ["teacher.model=resnet20", "teacher.resolution=0"]
TEXTS = ("text_prokt_trec6", "text_prokt_banking77", "text_prokt_sst2", "text_search")

OVERRIDES = {
    **dict.fromkeys(("imagenette_lite0", "imagenette_mobile", "mobile_students", "few_labels"), FROM_FILES),
    "wrong_teacher": ["teacher.checkpoint=''"],
    **{name: ["teacher.model=resnet20"] for name in TEXTS},
}
"""In place of files that are no part of the project."""

UNFILTERED = {"imagenette_lite0", "mobile_students", "imagenette_mobile"} | {
    *("teaching_search", "teaching_search_kd", "weight_inheritance", "text_search"),
}
"""Searches without proxies, or no searches."""

PINNED = {"transferred_process"}
"""Comparisons with an option that names a file, to which its hash is added."""

NASBENCH = {"nasbench201_search": TableExperiment, "nasbench201_proxy": ProxyExperiment}


def test_every_file_is_of_a_kind():
    assert {path.stem for path in FILES} == {path.stem for path in EXPERIMENTS} | set(NASBENCH)


@pytest.mark.parametrize(("name", "kind"), NASBENCH.items())
def test_an_experiment_on_nasbench201_names_what_exists(name, kind):
    experiment = load_experiment(ROOT / "benchmarks" / f"{name}.toml", kinds=KINDS)
    assert type(experiment) is kind
    assert experiment.name == name
    assert load_space(experiment.space).parameters


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_names_what_exists(path):
    experiment = load_experiment(path, OVERRIDES.get(path.stem, []))
    assert experiment.name == path.stem
    space = load_space(experiment.space)
    methods = methods_of(experiment.hyperparameters, experiment.method)
    settle_hyperparameters(experiment.hyperparameters, methods, settle_options(methods, experiment.options))
    searched = combine(space, experiment)
    assert experiment.teacher.model in MODELS or experiment.teacher.model.startswith("torchvision:")
    settled = settle_comparison(experiment.comparison)
    assert settled == experiment.comparison or path.stem in PINNED
    assert settle_comparison(settled) == settled
    assert expand_proxies(experiment.search.proxy_filter) or experiment.comparison.methods or path.stem in UNFILTERED
    check_architecture(space, Architecture.of(experiment.finalists.baseline or space.default))
    settings = experiment.search
    objectives = [SearchObjective.parse(text) for text in settings.objectives]
    sampler = make_sampler(
        settings.sampler, searched, objectives=objectives, seed=experiment.seed, options=settings.options
    )
    check_architecture(searched, sampler.ask(0))


def test_the_quickstart_does_what_the_readme_says():
    experiment = load_experiment(EXPERIMENTS[0])
    assert experiment.data.name == "digits"
    assert experiment.search.pool * experiment.search.trials >= 200
    assert experiment.search.trials >= 8
    assert experiment.search.scheduler == "asha"
    assert experiment.budget.params > 0
    assert len(experiment.finalists.seeds) >= 3


def test_the_large_comparison_of_methods_asks_what_the_small_one_asks():
    small, large = (
        load_experiment(ROOT / "benchmarks" / name) for name in ("kd_methods_small.toml", "kd_methods.toml")
    )
    assert [one.name for one in small.comparison.methods] == [one.name for one in large.comparison.methods]
    assert small.comparison.reference == large.comparison.reference == "kd"


@pytest.mark.slow
def test_kept_results_make_the_same_page_under_other_names(tmp_path):
    folder = write_experiment(tmp_path / "tiny").folder
    write_text_baselines(folder, [TextBaseline("on words", 0.5, 0.25, 1.0)])
    command = [
        sys.executable,
        "-m",
        "benchmarks.keep_results",
        folder,
        tmp_path / "kept",
        "--replace",
        "digits=elsewhere",
    ]
    assert subprocess.check_output(command, text=True, cwd=ROOT) == f"{tmp_path}/kept/tiny\n"
    kept = tmp_path / "kept" / "tiny"
    rows, theirs = (ResultTable(one).read() for one in (folder, kept))
    assert set(theirs["dataset"]) == {"elsewhere"}
    moved = ["dataset", "spec_json", "config_hash"]
    pd.testing.assert_frame_equal(rows.drop(columns=moved), theirs.drop(columns=moved))
    pages = [write_page(one, tmp_path / f"{place}.html").read_text() for place, one in enumerate((folder, kept))]
    assert pages[0].replace("digits", "elsewhere") == pages[1]
    assert "on words" in pages[1]
    again = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert "exists; remove it first" in again.stderr


def test_kept_results_name_no_place_of_a_machine():
    texts = [path.read_text() for path in (ROOT / "benchmarks" / "results").rglob("*.json")]
    texts += [
        ResultTable(folder).read().to_json(date_format="iso") for folder in experiment_folders(ROOT / "benchmarks")
    ]
    assert not [text for text in texts if re.search(r"/(tmp|home|root|work)\b", text)]


def test_one_page_shows_all_kept_results(tmp_path):
    folders = experiment_folders(ROOT / "benchmarks")
    page = write_page(ROOT / "benchmarks", tmp_path / "index.html").read_text()
    assert folders
    for folder in folders:
        assert folder.name in page
