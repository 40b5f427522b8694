"""What a trial says that it will cost is what it reports in the end, and asking leaves nothing behind."""

from __future__ import annotations

import math

import pytest

from automl_kd.errors import StopTrial
from automl_kd.methods import run_trial
from automl_kd.methods.base import CostEstimate
from tests import tiny

PATHS = {"stages": "pre_pool+pooled", "transforms": "plain"}

EXACT = [
    ("scratch", {}),
    ("kd", {}),
    ("weighted_losses", {"losses": "kd=0.5, fitnet, fitnet.stages=pre_pool"}),
    ("prokt", {}),
    ("lkd", {"interval": 2, "warmup": 0.0}),
    ("lkd", {"interval": 2, "mode": "retrain"}),
    ("lkd", {"interval": 4, "mode": "retrain", "stages": "pre_pool"}),
    ("distpro_search", PATHS),
    ("distpro", {**PATHS, "replay": "equal"}),
    ("subgraph", {"choose": "uniform"}),
]
BOUNDS = [("distpro", {**PATHS, "clip": 0.5}), ("subgraph", {})]


def quoted(one, root):
    quote = CostEstimate()
    run_trial(one, quote, tiny.place(root, one))
    return quote.epoch_macs


def spent(one, root):
    recorder = tiny.Recorder()
    run_trial(one, recorder, tiny.place(root, one))
    return recorder.seen[one.recipe.epochs]["train_macs"] / one.recipe.epochs


@pytest.mark.parametrize(("method", "options"), EXACT, ids=str)
def test_the_quote_is_what_the_trial_reports(method, options, tmp_path):
    one = tiny.taught(tmp_path, method, options=options)
    asked = quoted(one, tmp_path)
    assert not tiny.place(tmp_path, one).trial.exists()
    # A subgraph may cost a little less than its budget; all else is counted in the same way.
    assert asked == pytest.approx(spent(one, tmp_path), rel=0.3 if method == "subgraph" else 1e-6)


@pytest.mark.parametrize(("method", "options"), BOUNDS, ids=str)
def test_where_a_search_decides_the_quote_is_a_bound(method, options, tmp_path):
    one = tiny.taught(tmp_path, method, options=options)
    asked = quoted(one, tmp_path)
    assert not tiny.place(tmp_path, one).trial.exists()
    assert asked >= spent(one, tmp_path) * (1 - 1e-6)


def test_a_method_that_knows_no_quotes_is_ended_by_its_first_report(tmp_path):
    quote = CostEstimate()
    assert math.isnan(quote.epoch_macs)
    with pytest.raises(StopTrial):
        quote({"train_macs": 30.0}, epoch=3)
    assert quote.epoch_macs == 10.0
