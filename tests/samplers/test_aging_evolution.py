from __future__ import annotations

import pytest

from automl_kd.errors import ConfigError
from automl_kd.samplers import Sampler, SearchObjective, make_sampler
from automl_kd.space import Architecture, Scalar
from tests.samplers.toy import BITS, FAILED, bits, complete


def evolution(**options: Scalar) -> Sampler:
    return make_sampler("evolution", BITS, objectives=[SearchObjective.parse("val_accuracy")], seed=0, options=options)


def asked(sampler: Sampler) -> set[Architecture]:
    return {sampler.ask(10, draw) for draw in range(100)}


NEIGHBOURS_OF_ZERO = {bits(1, 0, 0), bits(0, 1, 0), bits(0, 0, 1)}
NEIGHBOURS_OF_ONE = {bits(0, 1, 1), bits(1, 0, 1), bits(1, 1, 0)}


def test_the_oldest_dies_however_good():
    sampler = evolution(population=2, tournament=50)
    sampler.tell(0, bits(1, 1, 1), complete(val_accuracy=1.0))
    sampler.tell(1, bits(0, 0, 0), complete(val_accuracy=0.6))
    assert asked(sampler) == NEIGHBOURS_OF_ONE
    sampler.tell(2, bits(1, 1, 0), complete(val_accuracy=0.5))
    # index 0 is dead; of 1 and 2 the better one wins every tournament of 50, but for a chance of 2 ** -50
    assert asked(sampler) == NEIGHBOURS_OF_ZERO


def test_age_is_the_index_not_the_time_of_telling():
    sampler = evolution(population=1, tournament=1)
    sampler.tell(5, bits(0, 0, 0), complete(val_accuracy=0.5))
    sampler.tell(4, bits(1, 1, 1), complete(val_accuracy=0.9))
    assert asked(sampler) == NEIGHBOURS_OF_ZERO


def test_random_until_the_population_is_full_and_failures_do_not_fill_it():
    sampler = evolution(population=2)
    sampler.tell(0, bits(0, 0, 0), complete(val_accuracy=0.5))
    sampler.tell(1, bits(1, 1, 1), FAILED)
    assert len(asked(sampler)) == 8


def test_a_tournament_of_one_selects_nothing():
    sampler = evolution(population=2, tournament=1)
    sampler.tell(0, bits(1, 1, 1), complete(val_accuracy=1.0))
    sampler.tell(1, bits(0, 0, 0), complete(val_accuracy=0.0))
    assert asked(sampler) == NEIGHBOURS_OF_ZERO | NEIGHBOURS_OF_ONE


@pytest.mark.parametrize("options", [{"population": 0}, {"tournament": 0}])
def test_empty_groups_are_refused(options):
    with pytest.raises(ConfigError, match="choose at least 1 for both"):
        evolution(**options)
