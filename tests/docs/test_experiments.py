"""Experiments of the pages: the reader reads every block of TOML, and what it names exists."""

from __future__ import annotations

import tomllib

import pytest

from automl_kd.config import Experiment, loads
from automl_kd.losses.weighted_sum import read_mix
from automl_kd.methods.hyperparameters import methods_of, settle_comparison, settle_hyperparameters
from automl_kd.models import load_space
from tests.docs.pages import PAGES, block_with, blocks


def read(text: str) -> Experiment:
    """An experiment of the text, with a name and a space where the text leaves them out."""
    needed = {"name": '"any"', "space": '"model:resnet20"'}
    return loads("".join(f"{key} = {needed[key]}\n" for key in needed if key not in tomllib.loads(text)) + text)


@pytest.mark.parametrize(("page", "text"), [(page, text) for page in PAGES for text in blocks(page, "toml")])
def test_every_experiment_is_read(page, text):
    experiment = read(text)
    assert load_space(experiment.space).name
    if losses := experiment.options.get("losses"):
        assert read_mix(str(losses)).parts


def test_what_is_searched_and_compared_is_settled():
    experiment, searched, ways = (
        block_with("toml", one) for one in ("wrn-40-2, ...", "[hyperparameters]", "[comparison]")
    )
    hyperparameters = loads(experiment + searched).hyperparameters
    settle_hyperparameters(hyperparameters, methods_of(hyperparameters, "kd"), {})
    comparison = loads(ways).comparison
    assert settle_comparison(comparison) == comparison


def test_a_trial_has_the_workers_that_are_shown():
    assert read(block_with("toml", "workers = 4")).trial.workers == 4
