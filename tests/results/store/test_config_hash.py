"""Six digits for data, recipe and teacher: the same for specs that differ in nothing else, whatever they look like."""

from __future__ import annotations

import hashlib
import json

import pytest

from automl_kd.results.store.config_hash import hash_config, hash_configs, untold
from automl_kd.spec import DataSpec, Recipe, TrialSpec, non_default_fields
from tests import tiny


def by_definition(text: str) -> str:
    try:
        record = non_default_fields(TrialSpec.from_json(text))
    except (KeyError, TypeError, ValueError):
        record = json.loads(text)
    for name in ("space", "architecture", "method", "options", "seed"):
        record.pop(name, None)
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:6]


SPEC = tiny.spec()
LEFT_OUT = [
    tiny.spec(width=7),
    tiny.spec(seed=9),
    tiny.spec(options={"recipe": 1, "seed": 2.5, "teacher": "x"}),
    tiny.spec(options={"words": '}, "recipe": {"epochs": 7'}),
    tiny.spec(space="my_spaces:SPACE"),
]
OTHER = [
    tiny.spec(recipe=Recipe(epochs=9)),
    tiny.spec(data=DataSpec(name="digits")),
    tiny.spec(teacher=tiny.TEACHER),
]
FOREIGN = [
    '{"seed": 1, "recipe": {"epochs": 3}}',
    '{"architecture": {"nested": {"a": 1}}, "data": {}, "method": "kd", "quality": 7, "recipe": {}, "seed": 0, '
    '"space": "x", "teacher": null}',
    '{"architecture": {"nested": {"a": 1}}, "data": {}, "method": "kd", "quality": 8, "recipe": {}, "seed": 0, '
    '"space": "x", "teacher": null}',
    "{}",
]


def test_what_other_columns_tell_makes_no_other_hash():
    assert len({hash_config(one.to_json()) for one in (SPEC, *LEFT_OUT)}) == 1
    assert len({hash_config(one.to_json()) for one in (SPEC, *OTHER)}) == 1 + len(OTHER)


@pytest.mark.parametrize("turn", [1, -1])
def test_many_at_once_are_those_of_each(turn):
    texts = [one.to_json() for one in (SPEC, *LEFT_OUT, *OTHER)][::turn] + FOREIGN
    assert hash_configs(texts * 2) == [by_definition(text) for text in texts * 2]


def test_specs_of_ours_are_read_once_for_all_seeds_and_students():
    texts = [tiny.spec(width=width, seed=seed).to_json() for width in (2, 9) for seed in (0, 11)]
    assert len(set(map(untold, texts))) == 1


def test_specs_from_before_there_was_a_field_agree_with_those_that_leave_it_alone():
    record = json.loads(SPEC.to_json())
    del record["recipe"]["accumulate"]
    assert hash_config(json.dumps(record)) == hash_config(SPEC.to_json())
