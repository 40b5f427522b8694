"""A comparison of methods: what is tried, what goes to the finals, and that all cost the same."""

from __future__ import annotations

import dataclasses
import math

import pandas as pd
import pytest

from automl_kd import experiment as stages
from automl_kd.config import CHOICE_SEEDS, ComparisonSection, Finalists, MethodEntry, loads
from automl_kd.errors import ConfigError
from automl_kd.experiment import Roots
from automl_kd.experiment.cost_estimates import estimate_epoch_macs
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.stages import comparison
from automl_kd.experiment.stages.comparison import Candidate
from automl_kd.experiment.stages.lengths import Length
from automl_kd.results.store.row import readings_of
from automl_kd.spec import READINGS, ReadingName, Recipe
from tests import tiny

SCRATCH = MethodEntry(name="scratch", method="scratch", compute=(0.5, 1.0))
KD = MethodEntry(name="kd", title="plain KD", method="kd", grid={"temperature": (1.0, 4), "weight": (0.5, 0.9)})
SUMS = MethodEntry(
    name="sums", method="weighted_losses", grid={"losses": ("kd=0.5", "dkd", "fitnet, fitnet.stages=pre_pool")}, best=2
)
METHODS = ComparisonSection(methods=(SCRATCH, KD, SUMS))
RECIPE = Recipe(epochs=4, batch_size=16)
WHOLE = Finalists(seeds=(0, 1), readings=("compute",), whole_epochs=True)


def described(**changes):
    plain = tiny.experiment(method="kd", comparison=METHODS, recipe=RECIPE, finalists=Finalists(seeds=(0, 1)))
    return dataclasses.replace(plain, **changes)


def roots(folder):
    return Roots(results=folder / "results", data=folder)


def test_combinations_are_all_of_them_the_last_option_fastest():
    assert KD.combinations == [
        {"temperature": 1.0, "weight": 0.5},
        {"temperature": 1.0, "weight": 0.9},
        {"temperature": 4, "weight": 0.5},
        {"temperature": 4, "weight": 0.9},
    ]
    assert SCRATCH.combinations == [{}]


@pytest.mark.parametrize(
    ("epoch", "fraction", "epochs"),
    [
        (lambda _: 10.0, 1.0, 4),  # as dear as the reference
        (lambda _: 4.0, 1.0, 10),  # 40 / 4
        (lambda _: 4.0, 0.5, 5),  # 20 / 4
        (lambda _: 10.4, 1.0, 4),  # 41.6 are within 5 % of 40
        (lambda _: 10.6, 1.0, 3),  # 42.4 are not
        (lambda _: 90.0, 1.0, 1),  # nobody trains for less than an epoch
        (lambda epochs: 10.0 + 10.0 / epochs, 1.0, 3),  # one of 10 before: 10 + 30 fit, 10 + 40 do not
        (lambda epochs: 20.0 if epochs == 4 else 10.0, 1.0, 3),  # two epochs would do by the price of four; three fit
    ],
)
def test_whole_epochs_are_what_the_compute_pays_for(tmp_path, monkeypatch, epoch, fraction, epochs):
    context = prepare_experiment(described(finalists=WHOLE), roots(tmp_path), Silent())
    monkeypatch.setattr(comparison, "estimate_epoch_macs", lambda _lab, spec: epoch(spec.recipe.epochs))
    found = comparison.affordable(context, Candidate(SUMS, SUMS.combinations[0]), fraction, unit=10.0)
    assert found == Length(epochs)


@pytest.mark.parametrize(
    ("epoch", "fraction", "passes"),
    [
        (lambda _: 10.0, 1.0, 4),  # as dear as the reference
        (lambda _: 10.04, 1.0, 4),  # within 0.5 % of whole epochs
        (lambda _: 10.4, 1.0, 40 / 10.4),
        (lambda _: 4.0, 0.3, 3),  # 12 / 4
        (lambda _: 90.0, 1.0, 40 / 90),  # less than an epoch
        (lambda passes: 10.0 + 10.0 / passes, 1.0, 3),  # one of 10 before: 10 + 30
        (lambda passes: 10.0 + 15.0 / passes, 1.0, 2.5),
        (lambda passes: 10.0 + 15.0 / passes if passes % 1 else 99.0, 0.9, 2.1),  # as where whole ones are dearer
    ],
)
def test_lengths_cost_what_the_reference_does_within_a_percent(tmp_path, monkeypatch, epoch, fraction, passes):
    context = prepare_experiment(described(), roots(tmp_path), Silent())
    monkeypatch.setattr(comparison, "estimate_epoch_macs", lambda _lab, spec: epoch(spec.recipe.length))
    found = comparison.affordable(context, Candidate(SUMS, SUMS.combinations[0]), fraction, unit=10.0)
    assert found.passes == pytest.approx(passes, rel=0.002)
    assert found.passes * epoch(found.passes) == pytest.approx(40 * fraction, rel=0.01)


def test_the_reference_is_trained_as_long_as_the_recipe_says(tmp_path, monkeypatch):
    longer = Recipe(epochs=40, batch_size=16)
    context = prepare_experiment(described(recipe=longer), roots(tmp_path), Silent())
    monkeypatch.setattr(comparison, "estimate_epoch_macs", lambda _lab, _spec: 10.0)
    kd, sums = Candidate(KD, KD.combinations[0]), Candidate(SUMS, SUMS.combinations[0])
    assert comparison.affordable(context, kd, 1.0, unit=10.0) == Length(40)
    assert comparison.affordable(context, kd, 0.26, unit=10.0) == Length(11, 0.4)
    # At the same price another one may have the 5 % that a surcharge could have taken, where epochs are whole.
    assert comparison.affordable(context, sums, 1.0, unit=10.0) == Length(40)
    whole = prepare_experiment(described(recipe=longer, finalists=WHOLE), roots(tmp_path), Silent())
    assert comparison.affordable(whole, sums, 1.0, unit=10.0) == Length(42)
    assert comparison.affordable(whole, kd, 0.26, unit=10.0) == Length(10)


def test_of_shares_that_come_to_the_same_epochs_the_largest_is_trained(tmp_path, monkeypatch):
    context = prepare_experiment(described(finalists=WHOLE), roots(tmp_path), Silent())
    monkeypatch.setattr(comparison, "estimate_epoch_macs", lambda _lab, _spec: 25.0)
    dear = Candidate(MethodEntry(name="dear", method="kd", compute=(0.25, 1.0, 0.5)), {})
    # 10, 20 and 40 for 25 an epoch: one epoch, whatever it costs, at every share.
    ours = list(comparison.finals(context, dear, [dear], Candidate(KD, {}), unit=10.0))
    assert {(one.compute_fraction, tuple(one.readings.items())) for one in ours} == {(1.0, (("compute", 1.0),))}


def test_the_lengths_of_all_readings_at_every_share(tmp_path, monkeypatch):
    context = prepare_experiment(described(), roots(tmp_path), Silent())
    images = len(context.dataset.train)
    teacher = images * context.teacher_macs
    prices = {"kd": 2.0 * teacher, "scratch": teacher, "prokt": 4.0 * teacher}
    monkeypatch.setattr(comparison, "estimate_epoch_macs", lambda _lab, spec: prices[spec.method])
    kd, scratch = Candidate(KD, KD.combinations[0]), Candidate(SCRATCH, {})
    both = Candidate(MethodEntry(name="again", method="kd"), {})
    prokt = Candidate(MethodEntry(name="prokt", method="prokt", compute=(0.5, 1.0)), {})

    def lengths(one: Candidate) -> dict[float, dict[ReadingName, float]]:
        ours = comparison.finals(context, one, [kd, both, scratch, prokt], kd, unit=prices["kd"])
        return {entrant.spec.recipe.length: dict(entrant.readings) for entrant in ours}

    assert lengths(kd) == {4: dict.fromkeys(READINGS, 1.0)}
    # At full compute, kd and again share the teacher: an epoch costs 1.5. At half of it kd has it for itself: 2.
    assert lengths(both) == {4: dict.fromkeys(READINGS, 1.0)}
    assert lengths(scratch) == {
        8: {"compute": 1.0},
        4: {"compute": 0.5, "shared-teacher": 0.5, "epochs": 1.0},
        6: {"shared-teacher": 1.0},
        2: {"epochs": 0.5},
    }
    # A teacher that is trained has nothing that the cache could serve.
    assert lengths(prokt)[1.5] == {"shared-teacher": 1.0}


def test_a_method_that_cannot_end_inside_an_epoch_is_trained_for_whole_ones(tmp_path, monkeypatch):
    said: list[str] = []
    context = prepare_experiment(described(), roots(tmp_path), Silent())
    monkeypatch.setattr(context.watcher, "note", said.append)
    monkeypatch.setattr(comparison, "estimate_epoch_macs", lambda _lab, _spec: 15.0)
    stiff = Candidate(MethodEntry(name="stiff", method="tests.tiny:Pretend", compute=(0.3, 1.0)), {})
    ours = list(comparison.finals(context, stiff, [stiff], Candidate(KD, {}), unit=10.0))
    assert {one.spec.recipe.last_epoch for one in ours} == {1.0}
    assert said[0] == "stiff cannot end inside an epoch; it is trained for whole epochs, with at most 5 % more"


def test_an_estimate_is_the_methods_own_and_made_once(tmp_path):
    quick = dataclasses.replace(tiny.spec(), data=described().data)
    context = prepare_experiment(described(), roots(tmp_path), Silent())
    assert estimate_epoch_macs(context, quick) == 1.0
    assert estimate_epoch_macs(context, dataclasses.replace(quick, seed=5)) == 1.0
    assert len(context.cost_estimates) == 1
    assert not context.trial_paths(dataclasses.replace(quick, seed=0), "cpu").trial.exists()


def test_the_best_candidates_go_on_the_earlier_of_equals_and_failures_never(tmp_path):
    context = prepare_experiment(described(), roots(tmp_path), Silent())
    candidates = [Candidate(SUMS, options) for options in SUMS.combinations]
    means = {("sums", 0): 0.4, ("sums", 1): 0.6, ("sums", 2): 0.4}
    assert comparison.best_candidates(context, "sums", candidates, means) == [candidates[1], candidates[0]]
    means[("sums", 0)] = -math.inf
    assert comparison.best_candidates(context, "sums", candidates, means) == [candidates[1], candidates[2]]
    means[("sums", 2)] = -3.0  # a squared error with its sign turned
    assert comparison.best_candidates(context, "sums", candidates, means) == [candidates[1], candidates[2]]
    means[("sums", 2)] = -math.inf
    assert comparison.best_candidates(context, "sums", candidates, means) == [candidates[1]]


COMPARISON = """
name = "x"
space = "tests.tiny:SPACE"
[comparison]
[[comparison.methods]]
name = "kd"
method = "kd"
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("comparison.reference=nobody", "no method of the comparison is called 'nobody'"),
        ("comparison.tuning=0.0", "tuning must lie above 0"),
        ("search.trials=9", "search.trials is for a search and comparison.methods for a comparison without one"),
        ("hyperparameters={method=['kd']}", "hyperparameters are for a search and comparison.methods"),
        ("comparison.tuning_seeds=4", "comparison.tuning_seeds is 4, more than the 3"),
        ("comparison.methods=[{name='kd', method='kd'}, {name='kd', method='kd'}]", "distinct names, got kd, kd"),
        ("comparison.methods=[{name='KD', method='kd'}]", "lower-case letters, digits or '-', got 'KD'"),
        ("comparison.methods=[{name='kd', method='kd', best=2}]", "best of 'kd' must lie in 1 to 1: 2"),
        ("comparison.methods=[{name='kd', method='kd', compute=[2.0]}]", "fractions above 0 and at most 1"),
        ("comparison.methods=[{name='kd', method='kd', grid={temperature=[]}}]", "an option without values"),
        (
            "comparison.methods=[{name='kd', method='kd', options={weight=0.5}, grid={weight=[0.5]}}]",
            "has weight both in options and in grid",
        ),
        ("comparison.methods=[{name='kd', method='kd', tunes={}}]", "unknown key 'comparison.methods.0.tunes'"),
        ("comparison.methods=[{name='kd', method='kd', options={weight=nan}}]", "weight is nan"),
    ],
)
def test_a_bad_comparison_is_refused_by_name(change, message):
    with pytest.raises(ConfigError, match=message.replace("[", r"\[").replace(".", r"\.")):
        loads(COMPARISON, [change])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (MethodEntry(name="kd", method="kdd"), "no method is called 'kdd'"),
        (MethodEntry(name="kd", method="kd", grid={"temperature": (4.0, -1.0)}), "temperature must be above 0"),
        (MethodEntry(name="kd", method="kd", options={"heat": 4.0}), "unknown key 'heat'"),
        (MethodEntry(name="kd", method="os:path"), "'os:path' is no method, since it is a module"),
        (
            MethodEntry(name="kd", method="weighted_losses", grid={"losses": ("kd", "os:path")}),
            "'os:path' is no loss",
        ),
        (
            MethodEntry(name="kd", method="kd", grid={"weight": (0.5,), "temperature": (4, 4.0)}),
            r"^grid.temperature of 'kd' has the value 4.0 twice; keep one$",
        ),
    ],
)
def test_what_no_method_would_do_is_refused_before_the_teacher_is_trained(tmp_path, entry, message):
    with pytest.raises(Exception, match=message):
        prepare_experiment(described(comparison=ComparisonSection(methods=(entry,))), roots(tmp_path), Silent())
    assert not (tmp_path / "results").exists()


@pytest.mark.ray
def test_a_contest_tries_chooses_trains_and_takes_one_more_contender_later(ray_session, tmp_path):
    context = stages.run_stages(described(), roots(tmp_path), Silent())
    rows = context.table.read()
    assert set(rows["status"]) == {"complete"}
    choice, final = rows[rows["trial_kind"] == "choice"], rows[rows["trial_kind"] == "final"]
    assert dict(choice["role"].astype(str).value_counts()) == {"kd": 4, "sums": 3}
    assert set(choice["seed"]) == {CHOICE_SEEDS}
    assert set(choice["compute_fraction"]) == {0.5}
    # Scratch at two lengths, the best KD, the best two sums; each with two seeds.
    assert set(final["role"]) == {"scratch", "sums", "kd"}
    assert len(final[final["role"] == "kd"]) == 2
    assert set(final["seed"]) == {0, 1}
    best = choice[choice["role"] == "kd"].sort_values("val_accuracy", kind="stable", ascending=False).iloc[0]
    assert set(final[final["role"] == "kd"]["options_json"]) == {best["options_json"]}
    # By compute, all had what the reference had, but for a step of 16 of the 88 images.
    for share in (0.5, 1.0):
        served = [readings_of(text).get("compute") == share for text in final["readings_json"]]
        ours = final[pd.Series(served, final.index)]
        budget = share * float(final[final["role"] == "kd"]["train_macs"].iloc[0])
        step = ours["train_macs"] / (ours["epochs"] - 1 + ours["last_epoch"]) * 16 / 88
        assert len(ours)
        assert ((ours["train_macs"] - budget).abs() <= step).all()

    wider = ComparisonSection(methods=(*METHODS.methods, MethodEntry(name="plain-kd", method="kd")))
    context = stages.run_stages(described(comparison=wider), roots(tmp_path), Silent())
    again = context.table.read()
    assert len(again.merge(rows[["trial_kind", "role", "key", "started"]])) == len(rows)  # none was carried out again
    assert len(again[again["role"] == "plain-kd"]) == 2

    fewer = Finalists(seeds=(0, 1), readings=("compute",))
    stages.run_stages(described(comparison=wider, finalists=fewer), roots(tmp_path), Silent())
    noted = context.table.read()
    assert len(noted) == len(again)
    assert set(noted.loc[noted["role"] == "plain-kd", "readings_json"]) == {'{"compute": 1.0}'}
