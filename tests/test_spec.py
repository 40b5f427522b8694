"""Keys follow what a trial computes and nothing else; records survive the journey through text."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_kd.space import Architecture
from automl_kd.spec import DataSpec, Recipe, TeacherSpec, TrialSpec, non_default_fields, teacher_trial

SPEC = TrialSpec(
    space="search_spaces.resnet_depth:SPACE",
    architecture=Architecture.of({"depth1": 1, "depth2": 3, "depth3": 5}),
    method="kd",
    options={"temperature": 4.0, "weight": 0.9},
    data=DataSpec(),
    teacher=TeacherSpec(),
    recipe=Recipe(),
    seed=0,
)

scalars = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5)
values = st.dictionaries(st.text(max_size=5), scalars, max_size=4)
recipes = st.builds(
    Recipe,
    epochs=st.integers(1, 500),
    lr=st.floats(1e-6, 10.0),
    optimizer=st.sampled_from(["sgd", "adamw"]),
    milestones=st.lists(st.floats(0.01, 0.99), max_size=3).map(tuple),
    nesterov=st.booleans(),
)
specs = st.builds(
    TrialSpec,
    space=st.text(max_size=10),
    architecture=values.map(Architecture.of),
    method=st.sampled_from(["kd", "scratch"]),
    options=values,
    data=st.builds(DataSpec, train_images=st.integers(0, 50_000), validation=st.floats(0.01, 0.5)),
    teacher=st.none() | st.builds(TeacherSpec, checkpoint=st.text(max_size=5), recipe=recipes),
    recipe=recipes,
    seed=st.integers(0, 2**31),
)


@settings(max_examples=40)
@given(specs)
def test_what_is_written_is_read(spec):
    again = TrialSpec.from_json(spec.to_json())
    assert again == spec
    assert again.key == spec.key


def test_a_key_is_sixteen_hex_digits():
    assert len(SPEC.key) == 16
    assert set(SPEC.key) <= set("0123456789abcdef")


def test_the_key_of_a_known_spec_stays():
    # Regenerate only together with a raised VERSION: folders and rows are found by this name.
    assert SPEC.key == "ed44f0c631bd67bf"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"method": "scratch"},
        {"options": {"temperature": 2.0, "weight": 0.9}},
        {"options": {}},
        {"architecture": Architecture.of({"depth1": 1, "depth2": 3, "depth3": 7})},
        {"data": DataSpec(train_images=100)},
        {"data": DataSpec(split_seed=1)},
        {"recipe": Recipe(epochs=31)},
        {"teacher": None},
        {"teacher": TeacherSpec(model="resnet110")},
        {"teacher": TeacherSpec(seed=1)},
        {"teacher": TeacherSpec(recipe=Recipe(lr=0.1))},
    ],
)
def test_whatever_a_trial_depends_on_changes_its_key(change):
    assert replace(SPEC, **change).key != SPEC.key


def test_options_in_another_order_are_the_same():
    turned = dict(reversed(list(SPEC.options.items())))
    assert list(turned) != list(SPEC.options)
    assert replace(SPEC, options=turned).key == SPEC.key


def test_a_default_spelt_out_changes_no_key():
    same = replace(SPEC, data=DataSpec(name="digits", resolution=0), recipe=Recipe(epochs=30, clip_norm=0.0))
    assert same.key == SPEC.key
    assert non_default_fields(DataSpec()) == {}
    assert non_default_fields(Recipe(lr=0.1)) == {"lr": 0.1}


@dataclass(frozen=True, kw_only=True)
class Old:
    rate: float = 0.1


@dataclass(frozen=True, kw_only=True)
class New:
    rate: float = 0.1
    added: int = 3
    parts: list[int] = field(default_factory=list)


def test_a_new_namewith_a_default_renames_nothing():
    assert non_default_fields(New(rate=0.2)) == non_default_fields(Old(rate=0.2)) == {"rate": 0.2}
    assert non_default_fields(New(added=4, parts=[1])) == {"added": 4, "parts": [1]}


def test_a_teacher_from_a_file_counts_by_its_content():
    one = TeacherSpec(checkpoint="/here/weights.pt", digest="ab" * 32)
    moved = replace(one, checkpoint="/there/weights.pt", recipe=Recipe(epochs=7), seed=9)
    other = replace(one, digest="cd" * 32)
    assert replace(SPEC, teacher=one).key == replace(SPEC, teacher=moved).key
    assert replace(SPEC, teacher=one).key != replace(SPEC, teacher=other).key
    assert replace(SPEC, teacher=one).key != replace(SPEC, teacher=replace(one, model="resnet110")).key
    assert replace(SPEC, teacher=one).key != SPEC.key
    assert replace(SPEC, teacher=one).key != replace(SPEC, teacher=replace(one, weights="ema")).key


def test_keys_of_teachers_from_files_are_those_of_earlier_versions():
    # As computed before there were sets of weights to choose from.
    one = TeacherSpec(model="resnet20", checkpoint="/here/weights.pt", digest="ab" * 32)
    assert replace(SPEC, teacher=one).key == "8e1356c60c5499e0"
    assert replace(SPEC, teacher=replace(one, outputs="top8")).key == "207b4b30cf859070"


def test_the_json_is_complete():
    record = json.loads(SPEC.to_json())
    assert record["recipe"]["lr"] == 0.05
    assert record["architecture"] == {"depth1": 1, "depth2": 3, "depth3": 5}
    assert record["teacher"]["model"] == "resnet56"


@pytest.mark.parametrize(
    ("kind", "name", "wrong", "right"),
    [
        (DataSpec, "validation", 0.0, 0.5),
        (DataSpec, "validation", 1.0, 0.01),
        (DataSpec, "train_images", -1, 0),
        (DataSpec, "resolution", -8, 8),
        (Recipe, "epochs", 0, 1),
        (Recipe, "batch_size", 1, 2),
        (Recipe, "lr", 0.0, 1e-6),
        (Recipe, "momentum", 1.0, 0.5),
        (Recipe, "weight_decay", -1e-4, 0.0),
        (Recipe, "milestones", (0.5, 1.0), (0.5,)),
        (Recipe, "warmup", 1.0, 0.99),
        (Recipe, "label_smoothing", 1.0, 0.0),
        (Recipe, "clip_norm", -1.0, 0.0),
    ],
)
def test_values_out_of_range_are_refused_by_name(kind, name, wrong, right):
    with pytest.raises(ValueError, match=name):
        kind(**{name: wrong})
    assert getattr(kind(**{name: right}), name) == right


def test_nesterov_needs_momentum():
    with pytest.raises(ValueError, match="nesterov"):
        Recipe(momentum=0.0)
    assert Recipe(momentum=0.0, nesterov=False).momentum == 0.0


def test_a_teachers_own_trial():
    teacher = TeacherSpec(model="wrn-40-2", recipe=Recipe(epochs=5), seed=3)
    trial = teacher_trial(teacher, DataSpec(name="cifar10"))
    assert (trial.space, trial.architecture, trial.method) == ("model:wrn-40-2", Architecture(()), "scratch")
    assert (trial.recipe, trial.seed, trial.data.name, trial.teacher) == (teacher.recipe, 3, "cifar10", None)
