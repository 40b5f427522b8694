"""Experiments are read strictly, and every refusal is one sentence that names the key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from automl_kd.config import Experiment, load_experiment, loads, parse_record, to_record
from automl_kd.errors import ConfigError

MINIMAL = 'name = "x"\nspace = "search_spaces.resnet:SPACE"\n'


def test_defaults_fill_what_a_file_leaves_out():
    experiment = loads(MINIMAL)
    assert experiment == Experiment(name="x", space="search_spaces.resnet:SPACE")
    assert experiment.finalists.seeds == (0, 1, 2)


def test_sections_and_overrides_reach_nested_fields():
    text = MINIMAL + "[search]\ntrials = 7\n[teacher.recipe]\nepochs = 3\n"
    experiment = loads(
        text, ["search.trials=9", "options.temperature=2.5", "data.name=cifar10", "finalists.seeds=[4, 5]"]
    )
    assert experiment.search.trials == 9
    assert experiment.teacher.recipe.epochs == 3
    assert experiment.options == {"temperature": 2.5}
    assert experiment.data.name == "cifar10"
    assert experiment.finalists.seeds == (4, 5)


def test_several_objectives_have_a_sampler_that_follows_them():
    both = 'search.objectives=["val_accuracy", "-params"]'
    assert loads(MINIMAL, [both]).search.sampler == "nsga2"
    assert loads(MINIMAL, [both, "search.sampler=evolution"]).search.sampler == "evolution"
    assert loads(MINIMAL, ['search.objectives=["val_accuracy"]']).search.sampler == "evolution"
    named = replace(loads(MINIMAL).search, objectives=("val_accuracy", "-params"))
    record = to_record(replace(loads(MINIMAL), search=named))
    assert parse_record(Experiment, record, "here").search.sampler == "evolution", "what is on record stays"


def test_a_record_reads_back_as_the_same_experiment():
    import json

    from automl_kd.config import parse_record

    experiment = loads(MINIMAL, ["search.proxy_filter=['naswot']"])
    assert parse_record(Experiment, json.loads(json.dumps(to_record(experiment))), "again") == experiment


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.trails=5", r"experiment: unknown key 'search.trails'; did you mean 'trials'\?"),
        ("serach.trials=5", r"unknown key 'serach'; did you mean 'search'\?"),
        ("search.trials=many", r"search.trials = \"many\" does not fit; it should be a valid integer"),
        ("search.trials=2.5", "search.trials = 2.5 does not fit"),
        ("search.trials=0", "search: trials must be 1 or more, got 0"),
        ("recipe.schedule=linear", r"recipe.schedule = \"linear\" does not fit; it should be 'cosine' or 'multistep'"),
        ("recipe.momentum=0.0", "nesterov needs a momentum above 0"),
        ("search=3", "search = 3 does not fit"),
        ("options.temperature=[1]", "options.temperature = "),
        ("finalists.seeds=[1, 1]", "seeds must be distinct"),
        ("finalists.seeds=[1000000]", "seeds must lie in 0 to 999999"),
        ("seed=-1", "seed must lie in 0 to 999999, got -1"),
        ("trial.gpus=1.5", "gpus must be whole or at most 1, got 1.5"),
        ("trial.checkpoint_minutes=-1", r"checkpoint_minutes must be 0 \(after epochs alone\) or more, got -1.0"),
        ("recipe.lr=inf", "recipe.lr is inf; it should be a finite number"),
        ("options.temperature=nan", "options.temperature is nan; it should be a finite number"),
        ("seed=9223372036854775808", "seed does not fit into 64 bits; give a number nearer to 0"),
        ("name=" + "n" * 300, "name must be at most 100 letters"),
        ("search.objectives=['test_accuracy']", "objectives must begin with"),
        ("search.objectives=['val_accuracy', 'int8_val_accuracy']", "is measured where export.int8 is true; set it"),
        ("name=../elsewhere", "name must be at most 100 letters"),
        ("no-value", "--set needs key=value"),
        ("name.first=1", "--set name.first=1: 'name' is a value"),
    ],
)
def test_bad_values_are_refused_in_one_sentence(override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        loads(MINIMAL, [override])
    assert "\n" not in str(caught.value)


def test_missing_keys_and_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match="space is missing; add it"):
        loads('name = "x"')
    with pytest.raises(ConfigError, match="is not valid TOML"):
        loads("name = ")
    with pytest.raises(ConfigError, match=r"no experiment could be read from .*nowhere\.toml"):
        load_experiment(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="no experiment could be read from"):
        load_experiment(tmp_path)
