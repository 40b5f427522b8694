from __future__ import annotations

import pytest

from automl_kd.errors import ConfigError
from automl_kd.samplers import Sampler, SearchObjective, make_sampler
from automl_kd.samplers.history import Observation
from automl_kd.samplers.local_search import best_observed
from automl_kd.space import Scalar
from tests.samplers.toy import BITS, bits, complete, stopped


def local(**options: Scalar) -> Sampler:
    return make_sampler("local", BITS, objectives=[SearchObjective.parse("val_accuracy")], seed=0, options=options)


def test_neighbours_of_the_best():
    sampler = local(restart=0.0)
    sampler.tell(0, bits(0, 0, 0), complete(val_accuracy=0.1))
    sampler.tell(1, bits(1, 1, 1), complete(val_accuracy=0.9))
    sampler.tell(2, bits(0, 0, 1), stopped(3, val_accuracy=1.0))
    # (1, 1, 1) with one bit turned: three neighbours, all of them found in 40 draws
    assert {sampler.ask(3, draw) for draw in range(40)} == {bits(0, 1, 1), bits(1, 0, 1), bits(1, 1, 0)}


def test_the_whole_space_until_something_is_told_and_at_a_restart():
    assert len({local(restart=0.0).ask(0, draw) for draw in range(100)}) == 8
    restarting = local(restart=1.0)
    restarting.tell(0, bits(1, 1, 1), complete(val_accuracy=0.9))
    assert len({restarting.ask(1, draw) for draw in range(100)}) == 8


def test_the_earliest_of_equals():
    one, two, worse = (
        Observation(1, bits(0, 0, 0), (0.5,)),
        Observation(2, bits(1, 0, 0), (0.5,)),
        Observation(0, bits(1, 1, 1), (0.7,)),
    )
    assert best_observed([worse, one, two]) is one
    assert best_observed([]) is None


def test_a_share_outside_its_range_is_refused():
    with pytest.raises(ConfigError, match=r"restart of sampler 'local' is 1.5; choose a share between 0 and 1"):
        local(restart=1.5)
