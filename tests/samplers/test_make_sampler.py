from __future__ import annotations

import pytest

from automl_kd.errors import ConfigError, UnknownNameError
from automl_kd.samplers import SAMPLERS, Sampler, SearchObjective, make_sampler, option_types
from automl_kd.samplers.aging_evolution import AgingEvolution
from automl_kd.samplers.local_search import LocalSearch
from automl_kd.space import Scalar
from tests.samplers.toy import BITS


def make(name: str, **options: Scalar) -> Sampler:
    return make_sampler(name, BITS, objectives=[SearchObjective.parse("val_accuracy")], seed=0, options=options)


def test_options_reach_their_fields():
    sampler = make("evolution", population=7)
    assert isinstance(sampler, AgingEvolution)
    assert (sampler.population, sampler.tournament) == (7, 5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("evolution", {"populaton": 7}, "'evolution' has no option 'populaton'; did you mean 'population'"),
        ("random", {"population": 7}, "'random' has no option 'population'; it has none"),
        ("evolution", {"seed": 7}, "has no option 'seed'"),
        ("evolution", {"history": 7}, "has no option 'history'"),
        ("evolution", {"population": 7.0}, "option 'population' of sampler 'evolution' is 7.0; write it as int"),
        ("evolution", {"population": True}, "is True; write it as int"),
        ("local", {"restart": "often"}, "is 'often'; write it as float"),
    ],
)
def test_wrong_options_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        make(name, **options)


def test_an_integer_is_a_real_number():
    sampler = make("local", restart=1)
    assert isinstance(sampler, LocalSearch)
    assert sampler.restart == 1


def test_wrong_names_are_refused():
    with pytest.raises(UnknownNameError, match="no sampler is called 'evolve'; did you mean 'evolution'"):
        make("evolve")


def test_one_from_elsewhere_by_reference():
    reference = "automl_kd.samplers.random_search:RandomSearch"
    assert make(reference).ask(3) == make("random").ask(3)
    with pytest.raises(ConfigError, match=r"'automl_kd.space:sample_architecture' is not a sampler; name a dataclass"):
        make("automl_kd.space:sample_architecture")


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_option_has_a_plain_type(name):
    assert set(option_types(name, SAMPLERS[name]).values()) <= {int, float, bool, str}
