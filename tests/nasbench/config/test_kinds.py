"""One record for each kind of experiment: none holds a section of another, in a file, in Python or in a folder."""

from __future__ import annotations

import itertools
import json
from functools import partial
from typing import Any

import pytest

from automl_kd.config import Experiment, add_new_fields, loads, to_record
from automl_kd.errors import ConfigError, ResultError
from automl_kd.nasbench.config import KINDS, ProxyExperiment, TableExperiment, TableSearch
from automl_kd.results.store.folder import check_folder, open_folder, read_experiment_record
from tests.nasbench.old_records import old_core_record, old_proxy_record, old_table_record

HEAD = 'name = "mine"\nspace = "search_spaces.nasbench201:SPACE"\n'
TABLE = '[[table.tasks]]\nname = "a"\nchoose = "cifar10_valid_acc_12"\nreport = "cifar10_test_acc_200"\n'
PROXY = '[proxy]\nscores = "x"\nchoose = "y"\nsearches = [{ sampler = "random" }]\n'
OLD = {Experiment: old_core_record, TableExperiment: old_table_record, ProxyExperiment: old_proxy_record}


@pytest.mark.parametrize(
    ("text", "kind"), [("", Experiment), ("[search]\n", Experiment), (TABLE, TableExperiment), (PROXY, ProxyExperiment)]
)
def test_the_section_makes_the_kind(text, kind):
    assert type(loads(HEAD + text, kinds=KINDS)) is kind


@pytest.mark.parametrize(("text", "section"), [(TABLE, "table"), (PROXY, "proxy")])
def test_the_core_alone_knows_none_of_them(text, section):
    with pytest.raises(ConfigError, match=f"unknown key '{section}'"):
        loads(HEAD + text)


@pytest.mark.parametrize(
    ("text", "override", "one", "other"),
    [
        (PROXY + TABLE, "seed=1", "table", "proxy"),
        (TABLE + "[search]\ntrials = 3\n", "seed=1", "table", "search"),
        (PROXY + "[comparison]\n", "seed=1", "proxy", "comparison"),
        (TABLE, "recipe.epochs=3", "table", "recipe"),
        ("[search]\ntrials = 3\n", "proxy.labels=50", "proxy", "search"),
    ],
)
def test_sections_of_two_kinds_are_refused_in_one_sentence(text, override, one, other):
    with pytest.raises(ConfigError) as refused:
        loads(HEAD + text, [override], where="x.toml", kinds=KINDS)
    assert str(refused.value) == (
        f"x.toml: '{one}' and '{other}' are of two kinds of experiment; keep one of them, and make another file for "
        "the other"
    )


@pytest.mark.parametrize(
    ("kind", "section"),
    [
        (Experiment, "table"),
        (Experiment, "proxy"),
        (TableExperiment, "proxy"),
        (TableExperiment, "search"),
        (ProxyExperiment, "table"),
        (ProxyExperiment, "comparison"),
    ],
)
def test_no_record_has_a_field_for_the_section_of_another_kind(kind, section):
    own: dict[type[Any], dict[str, Any]] = {
        TableExperiment: {"table": getattr(loads(HEAD + TABLE, kinds=KINDS), "table", None)},
        ProxyExperiment: {"proxy": getattr(loads(HEAD + PROXY, kinds=KINDS), "proxy", None)},
    }
    fields = {"name": "mine", "space": "a:B", **own.get(kind, {})}
    assert kind(**fields).name == "mine"
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{section}'"):
        kind(**fields, **{section: None})


@pytest.mark.parametrize("kind", OLD)
def test_a_folder_of_an_earlier_release_goes_on(kind, tmp_path):
    old = OLD[kind]()
    (tmp_path / "experiment.json").write_text(json.dumps(old))
    upgrade = partial(add_new_fields, kind)
    record = upgrade(read_experiment_record(tmp_path), "experiment.json")
    sections = {"table", "proxy"} & set(record)
    assert sections == {TableExperiment: {"table"}, ProxyExperiment: {"proxy"}}.get(kind, set())
    assert (record["name"], record["seed"]) == (old["name"], old["seed"])
    open_folder(tmp_path, record, upgrade)
    assert json.loads((tmp_path / "experiment.json").read_text()) == record
    check_folder(tmp_path, record, upgrade)
    with pytest.raises(ResultError, match=f"holds another experiment: its seed is {old['seed']}, here it is 9;"):
        check_folder(tmp_path, {**record, "seed": 9}, upgrade)


@pytest.mark.parametrize(("stored", "kind"), list(itertools.permutations(OLD, 2)))
@pytest.mark.parametrize("old", [True, False])
def test_the_folder_of_another_kind_is_refused(stored, kind, old, tmp_path):
    record = OLD[stored]()
    (tmp_path / "experiment.json").write_text(json.dumps(record))
    if not old:
        upgrade = partial(add_new_fields, stored)
        open_folder(tmp_path, upgrade(read_experiment_record(tmp_path), ""), upgrade)
    said = {
        Experiment: "a search or a comparison of methods",
        TableExperiment: r"an experiment with a section \[table\]",
        ProxyExperiment: r"an experiment with a section \[proxy\]",
    }
    before = (tmp_path / "experiment.json").read_bytes()
    with pytest.raises(ResultError, match=f"experiment.json is {said[stored]}, and this one is {said[kind]}; give"):
        check_folder(tmp_path, {}, partial(add_new_fields, kind))
    assert (tmp_path / "experiment.json").read_bytes() == before


def test_a_key_of_a_later_release_is_named_not_dropped():
    with pytest.raises(ConfigError, match="unknown key 'hardware'"):
        add_new_fields(TableExperiment, {**to_record(loads(HEAD + TABLE, kinds=KINDS)), "hardware": {}}, "x")


@pytest.mark.parametrize("compare", [(), (0,), (3, 3), (30, 10)])
def test_numbers_to_compare_at_ascend(compare):
    with pytest.raises(ValueError, match="compare must be one or more numbers above 0, ascending"):
        TableSearch(compare=compare)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[table]\n", "searches need a task; add [[table.tasks]]"),
        ("[table]\ncompare = []\n", "table: compare must be one or more numbers above 0, ascending, got []"),
        ("[proxy]\n", "a search needs scores"),
        (f"seed = -1\n{TABLE}", "seed must lie in 0 to 999999, got -1"),
    ],
)
def test_what_an_experiment_needs_is_said(text, said):
    with pytest.raises(ConfigError) as refused:
        loads(HEAD + text, kinds=KINDS)
    assert said in str(refused.value)


@pytest.mark.parametrize("kind", [TableExperiment, ProxyExperiment])
def test_a_name_is_one_of_a_folder(kind):
    with pytest.raises(ValueError, match="the folder of that name is shared"):
        kind(name="teachers", space="a:B", **{"table" if kind is TableExperiment else "proxy": None})
