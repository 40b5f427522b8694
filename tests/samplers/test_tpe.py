from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from automl_kd.errors import ConfigError
from automl_kd.samplers import SearchObjective, make_sampler
from automl_kd.samplers.history import Observation
from automl_kd.samplers.tpe import TPE, distribution_of
from automl_kd.space import Choice, FloatRange, IntRange
from tests.samplers.toy import BITS, bits, complete, ones, stopped

ACCURACY = SearchObjective.parse("val_accuracy")


def test_domains_in_optunas_words():
    # 3, 7 are the members of 3..10 by 4, so Optuna's range ends on 7
    integers = distribution_of(IntRange(3, 10, step=4))
    assert integers == optuna.distributions.IntDistribution(3, 7, step=4)
    assert distribution_of(FloatRange(0.1, 1, log=True)) == optuna.distributions.FloatDistribution(0.1, 1, log=True)
    assert distribution_of(Choice(("a", 2))) == optuna.distributions.CategoricalDistribution(("a", 2))


def test_outcomes_become_trials_in_order_of_their_index():
    sampler = TPE(BITS, [ACCURACY], seed=0)
    sampler.tell(3, bits(1, 0, 0), stopped(4, val_accuracy=0.3))
    sampler.tell(1, bits(0, 0, 1), complete(val_accuracy=0.8))
    complete_trial, pruned_trial = sampler.history.derive(sampler.study).trials
    assert (complete_trial.state, complete_trial.value) == (TrialState.COMPLETE, -0.8)
    assert (pruned_trial.state, pruned_trial.intermediate_values) == (TrialState.PRUNED, {4: -0.3})
    assert pruned_trial.params == {"a": 1, "b": 0, "c": 0}


def test_asking_adds_no_trial():
    sampler = TPE(BITS, [ACCURACY], seed=0, startup=1)
    sampler.tell(0, bits(0, 0, 0), complete(val_accuracy=0.5))
    for draw in range(5):
        sampler.ask(1, draw)
    assert len(sampler.history.derive(sampler.study).trials) == 1


@pytest.mark.parametrize("good", [bits(0, 0, 0), bits(1, 0, 1)])
def test_what_did_well_is_proposed_more_often(good):
    sampler = TPE(BITS, [ACCURACY], seed=0)
    for index in range(40):
        architecture = bits(index % 2, index // 2 % 2, index // 4 % 2)
        sampler.tell(index, architecture, complete(val_accuracy=1.0 if architecture == good else 0.1))
    # one point in eight by chance
    assert sum(sampler.ask(40, draw) == good for draw in range(40)) > 20


@pytest.mark.parametrize("level", [optuna.logging.DEBUG, optuna.logging.ERROR])
def test_verbosity_is_put_back(level):
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(level)
    try:
        TPE(BITS, [ACCURACY], seed=0).study([Observation(0, bits(0, 0, 0), (1.0,))])
        assert optuna.logging.get_verbosity() == level
    finally:
        optuna.logging.set_verbosity(before)


def test_it_is_the_joint_sampler_whatever_the_version_of_optuna_takes_for_granted(monkeypatch):
    # version 4 draws each parameter by itself unless it is told otherwise, and supposes that no trial is running
    given = {}
    plain = optuna.samplers.TPESampler

    def sampler(**named):
        given.update(named)
        return plain(**named)

    monkeypatch.setattr(optuna.samplers, "TPESampler", sampler)
    asked = TPE(BITS, [ACCURACY], seed=0, startup=1)
    for index in range(4):
        asked.tell(index, bits(index % 2, 0, 1), complete(val_accuracy=0.5))
    asked.ask(4)
    assert (given["multivariate"], given["group"], given["constant_liar"]) == (True, False, False)


@pytest.mark.parametrize("options", [{"startup": 0}, {"candidates": 0}])
def test_empty_groups_are_refused(options):
    with pytest.raises(ConfigError, match="choose at least 1 for both"):
        make_sampler("tpe", BITS, objectives=[ACCURACY], seed=0, options=options)


def test_later_draws_leave_the_beaten_track():
    sampler = TPE(BITS, [ACCURACY], seed=0)
    for index in range(40):
        architecture = bits(index % 2, index // 2 % 2, index // 4 % 2)
        sampler.tell(index, architecture, complete(val_accuracy=ones(architecture)))
    assert len({sampler.ask(index) for index in range(40, 50)}) <= 2
    assert len({sampler.ask(40, draw) for draw in range(200)}) == 8
