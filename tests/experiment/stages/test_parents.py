"""Students of a search begin with the weights of the nearest student before them, whatever breaks the search off."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from automl_kd.config import SearchSection, to_record
from automl_kd.errors import ConfigError, ResultError, TrialError
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.networks import refuse_inits_without_effect
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.stages.parents import Parents, differing_values
from automl_kd.experiment.stages.search import Searching
from automl_kd.methods import run_trial
from automl_kd.models.warm_start.slices import take_weights
from automl_kd.models.weights.checkpoint import load_weights
from automl_kd.results.doctor.doctor import diagnose
from automl_kd.results.store.folder import open_folder
from automl_kd.space import Architecture
from automl_kd.spec import Outcome, Parent, TrialSpec
from automl_kd.training.trial import build_student, prepare_trial
from tests import tiny
from tests.experiment.session import Broken, carry_through
from tests.experiment.test_networks import Notes


def spec_of(**values: int) -> TrialSpec:
    return dataclasses.replace(tiny.spec(method="scratch"), architecture=Architecture.of(values))


def ended(accuracy: float, macs: float = 1.0) -> Outcome:
    return Outcome(status="complete", metrics={"val_accuracy": accuracy, "train_macs": macs}, epoch=1)


def parents_in(folder: Path) -> Parents:
    return Parents(folder / "parents.jsonl", {})


def test_the_nearest_student_is_the_parent_and_of_equals_the_best_then_the_earliest(tmp_path):
    parents = parents_in(tmp_path)
    parents.choose(0, Architecture.of({"width": 4, "depth": 1}))
    assert parents.chosen[0] is None
    students = [spec_of(width=4, depth=1), spec_of(width=5, depth=2), spec_of(width=6, depth=1), spec_of(width=6)]
    for index, (student, accuracy) in enumerate(zip(students, (0.3, 0.9, 0.4, 0.4), strict=True)):
        parents.learn(index, student, ended(accuracy))
    parents.learn(4, spec_of(width=7, depth=1), Outcome(status="stopped", metrics={"val_accuracy": 1.0}, epoch=1))
    for index, (values, wanted) in enumerate(
        [({"width": 7, "depth": 1}, 2), ({"width": 4, "depth": 1}, 0), ({"width": 7, "depth": 2}, 1)], start=1
    ):
        parents.choose(index, Architecture.of(values))
        assert parents.chosen[index] == Parent(students[wanted].key, students[wanted].architecture)
    assert differing_values(Architecture.of({"a": 1, "b": 2}), Architecture.of({"a": 1, "c": 2})) == 2


def test_ancestors_training_adds_up(tmp_path):
    parents = parents_in(tmp_path)
    first = spec_of(width=4)
    second = dataclasses.replace(spec_of(width=5), parent=Parent(first.key, first.architecture))
    third = dataclasses.replace(spec_of(width=6), parent=Parent(second.key, second.architecture))
    for index, (spec, macs) in enumerate([(first, 7.0), (second, 11.0)]):
        parents.learn(index, spec, ended(0.5, macs))
    assert [parents.ancestor_macs(one) for one in (first, second, third)] == [0.0, 7.0, 18.0]


def test_a_key_knows_the_ancestors_and_a_spec_survives_its_file():
    plain = spec_of(width=4)
    child, other = (dataclasses.replace(plain, parent=Parent(key, plain.architecture)) for key in ("a" * 16, "b" * 16))
    assert len({plain.key, child.key, other.key}) == 3
    assert TrialSpec.from_json(child.to_json()) == child
    assert "parent" not in json.loads(plain.to_json())


def opened(root: Path) -> ExperimentContext:
    search = SearchSection(sampler="evolution", options={"population": 2}, trials=4, scheduler="none", inherit=True)
    context = prepare_experiment(
        tiny.experiment(search=search, method="scratch"), Roots(results=root / "results", data=root), Silent()
    )
    open_folder(context.folder, to_record(context.experiment))
    return context


def test_a_search_hands_weights_on_and_says_whose_they_were(tmp_path):
    context = opened(tmp_path)
    searching = Searching(context)
    carry_through(searching)
    rows = context.table.read().sort_values("proposal").set_index("proposal")
    assert pd.isna(rows["parent"][0])
    assert rows["init"].tolist()[1:] == ["parent"] * 3
    by_key = rows.set_index("key")
    for _, row in rows.iloc[1:].iterrows():
        giver = by_key.loc[row["parent"]]
        before = 0.0 if pd.isna(giver["parent"]) else giver["ancestor_macs"]
        assert row["ancestor_macs"] == giver["train_macs"] + before

    spec = TrialSpec.from_json(rows["spec_json"][3])
    assert spec.parent is not None
    paths = context.trial_paths(spec, "cpu")
    begun = prepare_trial(spec, paths).student
    fresh = prepare_trial(dataclasses.replace(spec, parent=None), paths).student
    giver = build_student(context.space, spec.parent.architecture, context.dataset, seed=0)
    load_weights(giver, context.folder / "trials" / spec.parent.key / "student.pt")
    take_weights(fresh, giver, context.dataset.shape)
    for name, value in fresh.state_dict().items():
        assert torch.equal(value, begun.state_dict()[name]), name


def test_a_student_that_nothing_fits_is_recorded_as_fresh(tmp_path):
    search = SearchSection(sampler="evolution", options={"population": 2}, trials=2, scheduler="none", inherit=True)
    described = tiny.experiment(search=search, method="scratch", space="tests.tiny:KERNELS")
    context = prepare_experiment(described, Roots(results=tmp_path / "results", data=tmp_path), notes := Notes())
    open_folder(context.folder, to_record(context.experiment))
    carry_through(Searching(context))
    rows = context.table.read().set_index("proposal")
    assert rows["architecture_id"].nunique() == 2
    assert rows[["init", "parent", "ancestor_macs"]].isna().all(axis=None)
    remark = "a student that nothing of its parent's weights fits began with drawn weights"
    assert [None if pd.isna(one) else one for one in rows["remark"].sort_index()] == [None, remark]
    assert notes.said.count(remark) == 1
    spec = TrialSpec.from_json(rows["spec_json"][1])
    assert spec.parent is not None

    again = Searching(context)
    carry_through(again)
    assert again.parents is not None
    assert again.parents.trained[spec.key].macs == rows["train_macs"][1]
    assert context.table.read().set_index("proposal")["init"].isna().all()


def test_a_search_broken_off_anywhere_ends_with_the_same_students(tmp_path):
    whole = opened(tmp_path / "whole")
    carry_through(Searching(whole))
    broken = opened(tmp_path / "broken")
    for _ in range(4):
        with pytest.raises(Broken):
            carry_through(Searching(broken), break_at=1)
    carry_through(Searching(broken))
    columns = ["key", "parent", "ancestor_macs", "val_accuracy", "test_accuracy"]
    one, two = (x.table.read().sort_values("proposal")[columns].reset_index(drop=True) for x in (whole, broken))
    assert one.equals(two)


def test_what_students_began_with_is_known_from_rows_where_the_journal_is_lost_or_damaged(tmp_path):
    context = opened(tmp_path)
    carry_through(Searching(context))
    journal = context.folder / "parents.jsonl"
    chosen = Searching(context).parents
    assert chosen is not None
    journal.write_text('{"proposal": 0, "parent": null}\nrubbish\n')
    with pytest.raises(ResultError, match=r"parents\.jsonl is damaged .* doctor .* --repair' repairs it"):
        Searching(context)
    assert diagnose(context.folder, repair=True).faults == 0
    again = Searching(context)
    assert again.parents is not None
    assert again.parents.chosen == chosen.chosen
    assert carry_through(again) == 4
    assert len(context.table.read()) == 4


def test_lost_weights_of_a_parent_are_a_sentence(tmp_path):
    spec = dataclasses.replace(tiny.spec(method="scratch"), parent=Parent("a" * 16, Architecture.of({"width": 4})))
    context = opened(tmp_path)
    with pytest.raises(TrialError, match=r"weights that this student begins with are gone: .*student\.pt"):
        run_trial(spec, tiny.Recorder(), context.trial_paths(spec, "cpu"))


def test_inheriting_where_it_has_no_effect_is_refused():
    with pytest.raises(ValueError, match="inherit has no effect with scheduler = 'pbt'"):
        SearchSection(scheduler="pbt", trials=4, perturb={"recipe.lr": {"low": 0.01, "high": 0.1}}, inherit=True)  # type: ignore[dict-item]
    own = tiny.experiment(search=SearchSection(inherit=True), method="subgraph")
    with pytest.raises(ConfigError, match=r"search\.inherit has no effect on method 'subgraph'"):
        refuse_inits_without_effect(own)
