"""Every experiment that ships can be read, and what it names exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from automl_kd.config import load_experiment
from automl_kd.experiment.proposals import combine
from automl_kd.methods.hyperparameters import methods_of, settle_comparison, settle_hyperparameters, settle_options
from automl_kd.models import MODELS, load_space
from automl_kd.proxies import expand_proxies
from automl_kd.search import SearchObjective, make_sampler
from automl_kd.space import Architecture, check_architecture

ROOT = Path(__file__).parents[2]
EXPERIMENTS = [ROOT / "automl_kd" / "quickstart.toml", *sorted((ROOT / "benchmarks").glob("*.toml"))]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_names_what_exists(path):
    experiment = load_experiment(path)
    assert experiment.name == path.stem
    space = load_space(experiment.space)
    methods = methods_of(experiment.hyperparameters, experiment.method)
    settle_hyperparameters(experiment.hyperparameters, methods, settle_options(methods, experiment.options))
    searched = combine(space, experiment)
    assert experiment.teacher.model in MODELS
    assert settle_comparison(experiment.comparison) == experiment.comparison
    assert (
        expand_proxies(experiment.search.proxy_filter)
        or experiment.comparison.methods
        or experiment.table.tasks
        or experiment.proxy.scores
    )
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
