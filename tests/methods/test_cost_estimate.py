"""What a trial says that it will cost is what it reports in the end, and asking leaves nothing behind."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import pytest

from automl_kd.methods import estimate_cost, run_trial
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


def estimated(one, root):
    return estimate_cost(one, tiny.place(root, one)).epoch_macs


def spent(one, root):
    recorder = tiny.Recorder()
    run_trial(one, recorder, tiny.place(root, one))
    return recorder.seen[one.recipe.epochs]["train_macs"] / one.recipe.epochs


@pytest.mark.parametrize(("method", "options"), EXACT, ids=str)
def test_the_estimate_is_what_the_trial_reports(method, options, tmp_path):
    one = tiny.taught(tmp_path, method, options=options)
    asked = estimated(one, tmp_path)
    assert not tiny.place(tmp_path, one).trial.exists()
    # A subgraph may cost a little less than its budget; all else is counted in the same way.
    assert asked == pytest.approx(spent(one, tmp_path), rel=0.3 if method == "subgraph" else 1e-6)


@pytest.mark.parametrize(("method", "options"), BOUNDS, ids=str)
def test_where_a_search_decides_the_estimate_is_a_bound(method, options, tmp_path):
    one = tiny.taught(tmp_path, method, options=options)
    asked = estimated(one, tmp_path)
    assert not tiny.place(tmp_path, one).trial.exists()
    assert asked >= spent(one, tmp_path) * (1 - 1e-6)


SHORT = dataclasses.replace(tiny.RECIPE, last_epoch=0.5)  # 2.5 epochs of 88 images: 6 + 6 + 3 steps of 16
SHORTER = [*EXACT, *BOUNDS, ("distpro", {**PATHS, "replay": "final", "search": 0.5})]


@pytest.mark.parametrize(("method", "options"), SHORTER, ids=str)
def test_a_run_that_ends_inside_an_epoch_costs_what_it_trained(method, options, tmp_path):
    one = dataclasses.replace(tiny.taught(tmp_path, method, options=options), recipe=SHORT)
    recorder = tiny.Recorder()
    run_trial(one, recorder, tiny.place(tmp_path, one))
    asked = estimated(one, tmp_path) * SHORT.length
    found = [recorder.seen[epoch]["train_macs"] for epoch in (1, 2, 3)]
    step = (found[1] - found[0]) / 5
    # Within a step of the estimate, and of a search that of its own: it is half a step too long at most.
    assert found[2] <= asked * 1.001 + 2 * step
    if (method, options) in EXACT and method != "subgraph":
        assert abs(found[2] - asked) <= step
    # The last epoch's part: half of its steps; two methods set some of the images aside.
    images = 88 if options.get("mode") == "retrain" else {"lkd": 79, "distpro_search": 70}.get(method, 88)
    part = 16 * round(0.5 * -(-images // 16)) / images
    assert (found[2] - found[1]) / (found[1] - found[0]) == pytest.approx(part, rel=0.01)


@dataclass(frozen=True)
class Uncosted:
    """A user's own method, which does not say what a trial costs beyond `macs`."""

    needs_teacher: ClassVar[bool] = True

    def macs(self, student, teacher):
        return 5 * student + teacher

    def __call__(self, spec, report, place):
        raise AssertionError("only its cost is asked for")


def test_a_method_without_a_cost_is_estimated_by_its_macs(tmp_path):
    one = tiny.taught(tmp_path, "kd")
    plain = estimated(one, tmp_path)
    student = estimated(dataclasses.replace(one, method="scratch", teacher=None), tmp_path) / 3
    own = dataclasses.replace(one, method=f"{__name__}:Uncosted")
    assert estimated(own, tmp_path) == pytest.approx(plain + 2 * student)
