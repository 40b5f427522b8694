"""What the protocol of samplers promises, for every entry of the table."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from automl_kd.errors import ConfigError
from automl_kd.samplers import SAMPLERS, Sampler, SearchObjective, make_sampler
from automl_kd.space import Architecture, Scalar, check_architecture
from automl_kd.spec import Outcome
from tests import ROOT
from tests.samplers.toy import FAILED, MIXED, complete, rate_loss, search, stopped

LOSS = SearchObjective.parse("-loss")
BROKEN_OFF = Outcome(status="failed", metrics={"loss": -100.0}, epoch=5, error="loss is not finite")
SMALL: dict[str, dict[str, Scalar]] = {
    "evolution": {"population": 6},
    "nsga2": {"population": 6},
    "tpe": {"startup": 6},
}

pytestmark = pytest.mark.parametrize("name", SAMPLERS)


def fresh(name: str, seed: int = 3) -> Sampler:
    return make_sampler(name, MIXED, objectives=[LOSS], seed=seed, options=SMALL.get(name, {}))


def asked(sampler: Sampler) -> list[Architecture]:
    return [sampler.ask(index, draw) for index in (30, 31) for draw in range(4)]


def history(name: str, trials: int = 30) -> list[tuple[int, Architecture, Outcome]]:
    proposals = search(fresh(name), trials)
    return [
        (i, one, complete(loss=rate_loss(one)) if i % 4 else stopped(2, loss=1.0)) for i, one in enumerate(proposals)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_proposals_are_members_of_the_space(name, seed):
    for architecture in search(fresh(name, seed), 30):
        check_architecture(MIXED, architecture)


def test_draws_indices_and_seeds_differ(name):
    sampler = fresh(name)
    search(sampler, 20)
    assert len({sampler.ask(20, draw) for draw in range(10)}) > 5
    assert len({sampler.ask(index) for index in range(20, 30)}) > 5
    assert search(fresh(name, 0), 20) != search(fresh(name, 1), 20)


def test_asking_changes_nothing(name):
    quiet, curious = fresh(name), fresh(name)
    for index, architecture, outcome in history(name):
        for draw in range(3):
            curious.ask(index + draw, draw)
        quiet.tell(index, architecture, outcome)
        curious.tell(index, architecture, outcome)
    assert asked(quiet) == asked(curious)
    assert asked(quiet) == asked(quiet)


def test_a_fresh_one_told_the_same_proposes_the_same_in_any_order(name):
    first, again, shuffled = fresh(name), fresh(name), fresh(name)
    told = history(name)
    for sampler, order in [(first, told), (again, told), (shuffled, random.Random(0).sample(told, len(told)))]:
        for index, architecture, outcome in order:
            sampler.tell(index, architecture, outcome)
    assert asked(first) == asked(again) == asked(shuffled)


def test_the_last_word_about_an_index_counts(name):
    once, twice = fresh(name), fresh(name)
    for index, architecture, outcome in history(name):
        twice.tell(index, architecture, FAILED if index % 2 else complete(loss=-100.0))
        twice.tell(index, architecture, outcome)
        once.tell(index, architecture, outcome)
    assert asked(once) == asked(twice)


@pytest.mark.parametrize("useless", [FAILED, BROKEN_OFF, complete(loss=math.nan), complete(loss=-math.inf), stopped(1)])
def test_nothing_is_learnt_from_an_outcome_without_a_number(name, useless):
    sampler, bothered = fresh(name), fresh(name)
    for index, architecture, outcome in history(name):
        sampler.tell(index, architecture, outcome)
        bothered.tell(index, architecture, outcome)
        bothered.tell(100 + index, architecture, useless)
    assert asked(sampler) == asked(bothered)


def test_outcomes_of_proposals_it_never_made_are_taken(name):
    sampler = fresh(name)
    for index in range(12):
        sampler.tell(index, Architecture.of(MIXED.default), complete(loss=float(index)))
    check_architecture(MIXED, sampler.ask(12))


def test_other_generators_are_left_alone_and_nothing_is_printed(name, capfd):
    before = random.getstate(), str(np.random.get_state())  # noqa: NPY002  (the one that is to stay as it is)
    search(fresh(name), 15)
    assert (random.getstate(), str(np.random.get_state())) == before  # noqa: NPY002
    assert capfd.readouterr() == ("", "")


def test_a_wrong_metric_is_named(name):
    if name == "random":
        pytest.skip("random search looks at no metric")
    sampler = make_sampler(name, MIXED, objectives=[SearchObjective.parse("val_acuracy")], seed=0, options={})
    with pytest.raises(ConfigError, match=r"no metric is called 'val_acuracy'.*did you mean 'val_accuracy'"):
        sampler.tell(0, Architecture.of(MIXED.default), complete(val_accuracy=0.5, params=3.0))


def test_several_objectives_are_followed_or_refused(name):
    objectives = [SearchObjective.parse("val_accuracy"), SearchObjective.parse("-params")]
    if name in {"random", "nsga2"}:
        check_architecture(MIXED, make_sampler(name, MIXED, objectives=objectives, seed=0, options={}).ask(0))
        return
    with pytest.raises(ConfigError, match=f"'{name}' follows one objective, got val_accuracy, -params.*'nsga2'"):
        make_sampler(name, MIXED, objectives=objectives, seed=0, options={})


def test_the_first_line_says_what_it_is_and_whence(name):
    first = (SAMPLERS[name].__doc__ or "").splitlines()[0]
    assert first.endswith(").")
    assert any(year in first for year in ("2002", "2011", "2018", "2019", "2020"))


@cache
def elsewhere() -> dict[str, list[str]]:
    """What each proposes in another process: keys by name."""
    script = (
        "from tests.conformance.test_samplers import SAMPLERS, fresh, search\n"
        "for name in SAMPLERS: print(name, *(one.key for one in search(fresh(name), 20)))"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return {line.split()[0]: line.split()[1:] for line in other.stdout.splitlines()}


def test_another_process_proposes_the_same(name):
    assert elsewhere()[name] == [one.key for one in search(fresh(name), 20)]
