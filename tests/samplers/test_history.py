from __future__ import annotations

from collections.abc import Sequence

import pytest

from automl_kd.errors import ConfigError
from automl_kd.samplers.base import SearchObjective
from automl_kd.samplers.history import History, Observation, judge_outcome
from automl_kd.spec import Outcome
from tests.samplers.toy import bits, complete, stopped

GOALS = [SearchObjective.parse("val_accuracy"), SearchObjective.parse("-params")]


def told(index: int, outcome: Outcome, objectives: Sequence[SearchObjective] = GOALS) -> Observation:
    found = judge_outcome(index, bits(0, 0, 0), outcome, objectives)
    assert found is not None
    return found


def test_losses_turn_what_is_to_grow():
    assert told(4, complete(val_accuracy=0.75, params=10.0, macs=3.0)).losses == (-0.75, 10.0)


def test_complete_before_stopped_and_late_before_early():
    # accuracy falls down the list, except that no stopped trial passes a complete one, nor an early one a late one
    outcomes = [
        complete(val_accuracy=0.5),
        complete(val_accuracy=0.4),
        stopped(9, val_accuracy=0.6),
        stopped(3, val_accuracy=0.9),
        stopped(3, val_accuracy=0.8),
    ]
    merits = [told(0, outcome, GOALS[:1]).merit for outcome in outcomes]
    assert merits == sorted(merits)
    assert len(set(merits)) == 5


def test_a_student_that_was_not_quantised_teaches_nothing_and_a_wrong_name_is_refused():
    goals = [*GOALS[:1], SearchObjective.parse("int8_val_accuracy")]
    assert told(0, complete(val_accuracy=0.5, int8_val_accuracy=0.25), goals).losses == (-0.5, -0.25)
    for outcome in (complete(val_accuracy=0.5), stopped(1, val_accuracy=0.5)):
        assert judge_outcome(0, bits(0, 0, 0), outcome, goals) is None
    with pytest.raises(ConfigError, match="no metric is called 'params', which is an objective"):
        judge_outcome(0, bits(0, 0, 0), complete(val_accuracy=0.5), [*goals, GOALS[1]])


def test_a_derived_value_is_computed_once_for_each_outcome():
    history, calls = History(), []

    def indices(seen):
        calls.append(len(seen))
        return [one.index for one in seen]

    assert history.derive(indices) == []
    for index in (5, 2):
        history.add(index, told(index, complete(val_accuracy=0.5, params=1.0)))
    assert history.derive(indices) == history.derive(indices) == [2, 5]
    history.add(5, None)
    assert history.derive(indices) == [2]
    assert calls == [0, 2, 1]
