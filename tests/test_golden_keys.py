"""Keys that releases before this one wrote: a spec keeps the name of its folder, curve and row for good.

The strings were computed by the code in which a recipe still had `optimiser`, `accumulate` and `norm_shards` and the
method of weighted sums was called `distil`. A key that differs means that old results are not found again.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from automl_kd.results.store.config_hash import hash_config
from automl_kd.space import Architecture
from automl_kd.spec import (
    DataSpec,
    Preprocessing,
    Recipe,
    Stage,
    TeacherSpec,
    TrialSpec,
    read_schedule,
    schedule_text,
    teacher_trial,
)
from automl_kd.spec.recipe import YOUNGER_RECIPE_FIELDS
from automl_kd.spec_names import FIRST_DEFAULTS

DIGEST = "0123456789abcdef" * 4
PINNED = f"/home/ada/process.json@sha256-{DIGEST}"
STUDENT = Architecture.of({"depth1": 1, "depth2": 3, "depth3": 5, "block": "basic", "wide": 1.5, "skip": True})
KD = TrialSpec(
    space="search_spaces.resnet:SPACE",
    architecture=STUDENT,
    method="kd",
    options={"temperature": 4.0, "weight": 0.9},
    data=DataSpec(),
    teacher=TeacherSpec(),
    recipe=Recipe(),
    seed=0,
)
SUM = replace(KD, method="weighted_losses", options={"losses": "kd=0.9, at=1000, at.power=2, ce=0.1"})
OWN = Preprocessing(mean=(0.5,), std=(0.5,), crop=0.875, interpolation="bicubic")
PRETRAINED = TeacherSpec(checkpoint="/home/ada/teacher.pt", digest=DIGEST)


def recipe(**fields: Any) -> TrialSpec:
    return replace(KD, recipe=Recipe(**fields))


def teacher(**fields: Any) -> TrialSpec:
    return replace(KD, teacher=TeacherSpec(**fields))


def data(**fields: Any) -> TrialSpec:
    return replace(KD, data=DataSpec(**fields))


def first(name: str, **options: Any) -> TrialSpec:
    """As options were when the keys were computed, where their defaults have changed."""
    return method(name, **{**FIRST_DEFAULTS[name], **options})


def method(name: str, **options: Any) -> TrialSpec:
    return replace(KD, method=name, options=options)


def schedule(spec: TrialSpec, *stages: tuple[float, dict[str, Any]]) -> TrialSpec:
    return replace(spec, schedule=tuple(Stage(start, changes) for start, changes in stages))


SPECS = {
    "kd": KD,
    "kd defaults": method("kd"),
    "another seed": replace(KD, seed=2_000_000),
    "another space": replace(
        KD, space="search_spaces.nasbench201:SPACE", architecture=Architecture.of({"edge": "none"})
    ),
    "model space": replace(KD, space="model:resnet8", architecture=Architecture(())),
    "unicode": replace(KD, space="räume.größe:SPACE", architecture=Architecture.of({"größe": "ß"})),
    "scratch": replace(method("scratch"), teacher=None),
    "weighted sum": SUM,
    "weighted sum defaults": replace(SUM, options={}),
    "weighted sum, adamw": replace(SUM, recipe=Recipe(optimizer="adamw", lr=0.001, nesterov=False)),
    "weighted sum, every recipe word": replace(
        SUM, recipe=Recipe(optimizer="adamw", grad_accumulation=2, sync_bn_groups=4, batch_size=128)
    ),
    "weighted sum, teacher by recipe": replace(SUM, teacher=TeacherSpec(recipe=Recipe(optimizer="adamw"))),
    "distpro_search": first("distpro_search", connect="lower", transforms="complex"),
    "distpro": first("distpro", process=PINNED, replay="final"),
    "distpro, stages": first("distpro", stages="stem+stage1.pre+logits", connect="same"),
    "prokt": first("prokt", temperature=2.0, losses="kd=1, ce=0", weight=0.1, target="stale"),
    "lkd": first("lkd", temperature=8.0, ce=0.5),
    "subgraph": first("subgraph", weight=0.3, choose="uniform"),
    "from a file": method("my_methods:MINE", strength=3),
    "option called like a field": method("my_methods:MINE", accumulate=2, optimiser="sgd", norm_shards=1),
    "option called distil": method("my_methods:MINE", way="distil"),
    "optimizer": recipe(optimizer="adamw"),
    "optimizer default": recipe(optimizer="sgd"),
    "accumulation": recipe(grad_accumulation=4),
    "sync groups": recipe(sync_bn_groups=2),
    "accumulation and groups": recipe(grad_accumulation=2, sync_bn_groups=2, batch_size=256),
    "epochs": recipe(epochs=240, schedule="multistep", nesterov=False),
    "milestones": recipe(schedule="multistep", milestones=(0.5, 0.75), gamma=0.2),
    "warmup": recipe(warmup=0.05, label_smoothing=0.1, clip_norm=5.0),
    "adamw with all": recipe(
        optimizer="adamw", lr=0.002, weight_decay=0.05, momentum=0.0, nesterov=False, amp=False, channels_last=False
    ),
    "augment": recipe(augment="crop-flip", batch_size=32),
    "teacher model": teacher(model="torchvision:resnet18"),
    "teacher seed": teacher(model="resnet20", seed=3),
    "teacher recipe": teacher(model="resnet20", recipe=Recipe(epochs=15)),
    "teacher recipe words": teacher(recipe=Recipe(optimizer="adamw", grad_accumulation=2, sync_bn_groups=2)),
    "teacher outputs": teacher(outputs="top8"),
    "teacher outputs float16": teacher(outputs="float16", recipe=Recipe(epochs=3)),
    "pretrained": replace(KD, teacher=PRETRAINED),
    "pretrained outputs": replace(KD, teacher=replace(PRETRAINED, outputs="float16")),
    "pretrained weights": replace(KD, teacher=replace(PRETRAINED, weights="ema")),
    "pretrained, recipe not followed": replace(KD, teacher=replace(PRETRAINED, recipe=Recipe(optimizer="adamw"))),
    "teacher of pinned graph": teacher(model=f"subgraph:/home/ada/subgraph.json@sha256-{DIGEST}"),
    "no digest": replace(KD, teacher=TeacherSpec(checkpoint="teacher.pt")),
    "data name": data(name="cifar10"),
    "data cut": data(name="cifar10", train_images=5000, validation=0.05, split_seed=7),
    "data folder": data(name="folder:/home/ada/photos", resolution=64, max_value=4095.0),
    "teacher's own images": replace(
        data(name="folder:/home/ada/photos", resolution=64, view=224, crop=0.875, interpolation="bicubic"),
        teacher=replace(PRETRAINED, resolution=224, preprocessing=OWN),
    ),
    "data digest": data(name="folder:/home/ada/photos", digest=DIGEST),
    "data digest, cut": data(name="arrays:cifar10.npz", digest=DIGEST, train_images=3000),
    "population": schedule(KD, (0.0, {"recipe.lr": 0.05}), (0.5, {"recipe.lr": 0.04, "method.weight": 0.5})),
    "population of sums": schedule(
        SUM, (0.0, {"method.losses": "kd=0.5, at=10.0"}), (0.25, {"recipe.weight_decay": 0.1})
    ),
    "schedule of renamed fields": schedule(
        KD, (0.0, {"recipe.grad_accumulation": 2}), (0.5, {"recipe.optimizer": "adamw", "recipe.sync_bn_groups": 2})
    ),
    "comparison, tuned": replace(KD, space="model:resnet8", architecture=Architecture(()), seed=1_000_000),
    "comparison, sum": replace(
        SUM, space="model:resnet8", architecture=Architecture(()), recipe=Recipe(epochs=5), options={"losses": "dkd"}
    ),
    "teacher's own trial": teacher_trial(TeacherSpec(model="resnet20", recipe=Recipe(epochs=15)), DataSpec()),
    "teacher's own trial, words": teacher_trial(
        TeacherSpec(recipe=Recipe(optimizer="adamw", grad_accumulation=2, batch_size=128), seed=5),
        DataSpec(digest=DIGEST),
    ),
    "pinned student": replace(KD, architecture=Architecture.of({"graph": f"/mnt/x/subgraph.json@sha256-{DIGEST}"})),
    "from_file": replace(method("from_file"), teacher=PRETRAINED),
}

KEYS = {
    "kd": "3bbe6d703f74f505",
    "kd defaults": "686625a41a02f8e1",
    "another seed": "5065dd9842a97a81",
    "another space": "4f0c5f2f736c49fe",
    "model space": "50c5ebd6ebb24e65",
    "unicode": "c5d705b381600763",
    "scratch": "46c4833841ba4996",
    "weighted sum": "04896c37837c4211",
    "weighted sum defaults": "ec1d1123e9785d0c",
    "weighted sum, adamw": "13a4cf1b5633df72",
    "weighted sum, every recipe word": "1cf97405e152ddbc",
    "weighted sum, teacher by recipe": "aacc6084d9963cc5",
    "distpro_search": "3da571d6883b6e98",
    "distpro": "aa2242d31d420162",
    "distpro, stages": "f31ef20b7cec8ddc",
    "prokt": "e0ebca5397aff7ea",
    "lkd": "19c27013439bfe12",
    "subgraph": "b85ce2629f97c8cd",
    "from a file": "a0c19a94a015bb23",
    "option called like a field": "0fffb8c001ce4610",
    "option called distil": "8604ff3645693bff",
    "optimizer": "c9426819f4cfc6dc",
    "optimizer default": "3bbe6d703f74f505",
    "accumulation": "f6b68ee6b10698bd",
    "sync groups": "24cc3ca521cab00e",
    "accumulation and groups": "8a536e9da6706708",
    "epochs": "f5122914f2d5b0ec",
    "milestones": "995cb8093edf1e3b",
    "warmup": "f4294ffef32223b9",
    "adamw with all": "ca0992a33919ea44",
    "augment": "731522f4f5e3b9df",
    "teacher model": "89594146d83d8ae0",
    "teacher seed": "4a9ba11cdcc0c1ac",
    "teacher recipe": "ab0d91f449e903c7",
    "teacher recipe words": "a29e3bc75228c74c",
    "teacher outputs": "8aa176a9bce051b1",
    "teacher outputs float16": "638fc5e5a082ebbd",
    "pretrained": "6bc389ff8853161e",
    "pretrained outputs": "0915a043b370a995",
    "pretrained weights": "24c4631da6f6e01b",
    "pretrained, recipe not followed": "6bc389ff8853161e",
    "teacher of pinned graph": "dfeaaa25b5d960a5",
    "no digest": "7b2dd96f33e05b7d",
    "data name": "429f9096ffbd8c27",
    "data cut": "097f8c508cd61e65",
    "data folder": "47f95f6317b35435",
    "teacher's own images": "30bbf9d64bda537e",
    "data digest": "cfb26b3c3f210005",
    "data digest, cut": "f38bb78f57bb015b",
    "population": "717fc7965009b4e0",
    "population of sums": "9a31a66a331af0ec",
    "schedule of renamed fields": "bb2de1e6a93d6324",
    "comparison, tuned": "c9305f44099a4f6f",
    "comparison, sum": "19256840bb0fdbc7",
    "teacher's own trial": "fc6f14d0b8e2d3c9",
    "teacher's own trial, words": "af3c25ed9c846d06",
    "pinned student": "f9f7469b13cfbb1d",
    "from_file": "6ae25d278bacf4c4",
}

SETTINGS = {
    "weighted sum, every recipe word": "77cea9",
    "schedule of renamed fields": "b16aba",
    "teacher recipe words": "9e31f8",
    "option called like a field": "c5fa86",
    "scratch": "234294",
}
"""Six digits of data, recipe and teacher: a column of old rows, compared with that of new ones."""

TEXTS = {
    "weighted sum, every recipe word": (
        '{"architecture": {"block": "basic", "depth1": 1, "depth2": 3, "depth3": 5, "skip": true, "wide": 1.5}, "data":'
        ' {"digest": "", "max_value": 0.0, "name": "digits", "resolution": 0, "split_seed": 0, "train_images": 0, "vali'
        'dation": 0.1}, "method": "distil", "options": {"losses": "kd=0.9, at=1000, at.power=2, ce=0.1"}, "recipe": {"a'
        'ccumulate": 2, "amp": true, "augment": "auto", "batch_size": 128, "channels_last": true, "clip_norm": 0.0, "ep'
        'ochs": 30, "gamma": 0.1, "label_smoothing": 0.0, "lr": 0.05, "milestones": [0.625, 0.75, 0.875], "momentum": 0'
        '.9, "nesterov": true, "norm_shards": 4, "optimiser": "adamw", "schedule": "cosine", "warmup": 0.0, "weight_dec'
        'ay": 0.0005}, "seed": 0, "space": "search_spaces.resnet:SPACE", "teacher": {"checkpoint": "", "digest": "", "m'
        'odel": "resnet56", "outputs": "exact", "recipe": {"accumulate": 1, "amp": true, "augment": "auto", "batch_size'
        '": 64, "channels_last": true, "clip_norm": 0.0, "epochs": 30, "gamma": 0.1, "label_smoothing": 0.0, "lr": 0.05'
        ', "milestones": [0.625, 0.75, 0.875], "momentum": 0.9, "nesterov": true, "norm_shards": 1, "optimiser": "sgd",'
        ' "schedule": "cosine", "warmup": 0.0, "weight_decay": 0.0005}, "seed": 0, "weights": ""}}'
    ),
    "schedule of renamed fields": (
        '{"architecture": {"block": "basic", "depth1": 1, "depth2": 3, "depth3": 5, "skip": true, "wide": 1.5}, "data":'
        ' {"digest": "", "max_value": 0.0, "name": "digits", "resolution": 0, "split_seed": 0, "train_images": 0, "vali'
        'dation": 0.1}, "method": "kd", "options": {"temperature": 4.0, "weight": 0.9}, "recipe": {"accumulate": 1, "am'
        'p": true, "augment": "auto", "batch_size": 64, "channels_last": true, "clip_norm": 0.0, "epochs": 30, "gamma":'
        ' 0.1, "label_smoothing": 0.0, "lr": 0.05, "milestones": [0.625, 0.75, 0.875], "momentum": 0.9, "nesterov": tru'
        'e, "norm_shards": 1, "optimiser": "sgd", "schedule": "cosine", "warmup": 0.0, "weight_decay": 0.0005}, "schedu'
        'le": [[0.0, {"recipe.accumulate": 2}], [0.5, {"recipe.norm_shards": 2, "recipe.optimiser": "adamw"}]], "seed":'
        ' 0, "space": "search_spaces.resnet:SPACE", "teacher": {"checkpoint": "", "digest": "", "model": "resnet56", "o'
        'utputs": "exact", "recipe": {"accumulate": 1, "amp": true, "augment": "auto", "batch_size": 64, "channels_last'
        '": true, "clip_norm": 0.0, "epochs": 30, "gamma": 0.1, "label_smoothing": 0.0, "lr": 0.05, "milestones": [0.62'
        '5, 0.75, 0.875], "momentum": 0.9, "nesterov": true, "norm_shards": 1, "optimiser": "sgd", "schedule": "cosine"'
        ', "warmup": 0.0, "weight_decay": 0.0005}, "seed": 0, "weights": ""}}'
    ),
    "teacher recipe words": (
        '{"architecture": {"block": "basic", "depth1": 1, "depth2": 3, "depth3": 5, "skip": true, "wide": 1.5}, "data":'
        ' {"digest": "", "max_value": 0.0, "name": "digits", "resolution": 0, "split_seed": 0, "train_images": 0, "vali'
        'dation": 0.1}, "method": "kd", "options": {"temperature": 4.0, "weight": 0.9}, "recipe": {"accumulate": 1, "am'
        'p": true, "augment": "auto", "batch_size": 64, "channels_last": true, "clip_norm": 0.0, "epochs": 30, "gamma":'
        ' 0.1, "label_smoothing": 0.0, "lr": 0.05, "milestones": [0.625, 0.75, 0.875], "momentum": 0.9, "nesterov": tru'
        'e, "norm_shards": 1, "optimiser": "sgd", "schedule": "cosine", "warmup": 0.0, "weight_decay": 0.0005}, "seed":'
        ' 0, "space": "search_spaces.resnet:SPACE", "teacher": {"checkpoint": "", "digest": "", "model": "resnet56", "o'
        'utputs": "exact", "recipe": {"accumulate": 2, "amp": true, "augment": "auto", "batch_size": 64, "channels_last'
        '": true, "clip_norm": 0.0, "epochs": 30, "gamma": 0.1, "label_smoothing": 0.0, "lr": 0.05, "milestones": [0.62'
        '5, 0.75, 0.875], "momentum": 0.9, "nesterov": true, "norm_shards": 2, "optimiser": "adamw", "schedule": "cosin'
        'e", "warmup": 0.0, "weight_decay": 0.0005}, "seed": 0, "weights": ""}}'
    ),
    "option called like a field": (
        '{"architecture": {"block": "basic", "depth1": 1, "depth2": 3, "depth3": 5, "skip": true, "wide": 1.5}, "data":'
        ' {"digest": "", "max_value": 0.0, "name": "digits", "resolution": 0, "split_seed": 0, "train_images": 0, "vali'
        'dation": 0.1}, "method": "my_methods:MINE", "options": {"accumulate": 2, "norm_shards": 1, "optimiser": "sgd"}'
        ', "recipe": {"accumulate": 1, "amp": true, "augment": "auto", "batch_size": 64, "channels_last": true, "clip_n'
        'orm": 0.0, "epochs": 30, "gamma": 0.1, "label_smoothing": 0.0, "lr": 0.05, "milestones": [0.625, 0.75, 0.875],'
        ' "momentum": 0.9, "nesterov": true, "norm_shards": 1, "optimiser": "sgd", "schedule": "cosine", "warmup": 0.0,'
        ' "weight_decay": 0.0005}, "seed": 0, "space": "search_spaces.resnet:SPACE", "teacher": {"checkpoint": "", "dig'
        'est": "", "model": "resnet56", "outputs": "exact", "recipe": {"accumulate": 1, "amp": true, "augment": "auto",'
        ' "batch_size": 64, "channels_last": true, "clip_norm": 0.0, "epochs": 30, "gamma": 0.1, "label_smoothing": 0.0'
        ', "lr": 0.05, "milestones": [0.625, 0.75, 0.875], "momentum": 0.9, "nesterov": true, "norm_shards": 1, "optimi'
        'ser": "sgd", "schedule": "cosine", "warmup": 0.0, "weight_decay": 0.0005}, "seed": 0, "weights": ""}}'
    ),
    "scratch": (
        '{"architecture": {"block": "basic", "depth1": 1, "depth2": 3, "depth3": 5, "skip": true, "wide": 1.5}, "data":'
        ' {"digest": "", "max_value": 0.0, "name": "digits", "resolution": 0, "split_seed": 0, "train_images": 0, "vali'
        'dation": 0.1}, "method": "scratch", "options": {}, "recipe": {"accumulate": 1, "amp": true, "augment": "auto",'
        ' "batch_size": 64, "channels_last": true, "clip_norm": 0.0, "epochs": 30, "gamma": 0.1, "label_smoothing": 0.0'
        ', "lr": 0.05, "milestones": [0.625, 0.75, 0.875], "momentum": 0.9, "nesterov": true, "norm_shards": 1, "optimi'
        'ser": "sgd", "schedule": "cosine", "warmup": 0.0, "weight_decay": 0.0005}, "seed": 0, "space": "search_spaces.'
        'resnet:SPACE", "teacher": null}'
    ),
}
"""What old rows, cards and messages hold of some specs, word for word."""


@pytest.mark.parametrize("name", SPECS)
def test_a_key_is_what_it_was(name):
    assert SPECS[name].key == KEYS[name]


def test_there_are_enough_of_them():
    assert SPECS.keys() == KEYS.keys()
    assert len(set(KEYS.values())) >= 50


@pytest.mark.parametrize("name", SETTINGS)
def test_a_config_hash_is_what_it_was(name):
    assert hash_config(SPECS[name].to_json()) == SETTINGS[name]
    assert hash_config(TEXTS[name]) == SETTINGS[name]


def test_a_younger_field_within_a_teacher_is_stored_where_it_is_set():
    spec = SPECS["teacher's own images"]
    assert hash_config(spec.to_json()) == "286c4e"
    assert spec.teacher is not None
    squashed = replace(spec, teacher=replace(spec.teacher, preprocessing=replace(OWN, resize="squash")))
    assert TrialSpec.from_json(squashed.to_json()) == squashed
    assert squashed.key != spec.key


@pytest.mark.parametrize("name", TEXTS)
def test_an_old_spec_is_read_as_the_same_trial(name):
    read = TrialSpec.from_json(TEXTS[name])
    assert read == SPECS[name]
    assert read.key == KEYS[name]


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_written_now_is_what_was_written_then(name):
    assert json.loads(SPECS[name].to_json()) == json.loads(TEXTS[name])


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_survives_the_journey_through_text(name):
    assert TrialSpec.from_json(SPECS[name].to_json()) == SPECS[name]
    assert read_schedule(schedule_text(SPECS[name].schedule)) == SPECS[name].schedule


def test_a_last_epoch_is_stored_where_it_is_no_whole_one():
    short = replace(KD, recipe=Recipe(last_epoch=0.4), teacher=TeacherSpec(recipe=Recipe(last_epoch=0.5)))
    assert "last_epoch" not in KD.to_json()
    assert short.to_json().count("last_epoch") == 2
    assert TrialSpec.from_json(short.to_json()) == short
    assert len({KD.key, short.key, replace(short, teacher=KD.teacher).key}) == 3
    assert hash_config(short.to_json()) != hash_config(KD.to_json())


def test_fields_of_a_recipe_that_came_later_are_stored_where_they_are_set():
    changes = {"policy": "rand", "mixup": 0.2, "repeats": 4, "ema": 0.9, "loss": "bce", "decay_norms": False}
    assert not {*YOUNGER_RECIPE_FIELDS} & {*json.loads(KD.to_json())["recipe"]}
    keys = {KD.key}
    for name, value in changes.items():
        one = recipe(**{name: value})
        assert {*json.loads(one.to_json())["recipe"]} & {*YOUNGER_RECIPE_FIELDS} == {name}
        assert TrialSpec.from_json(one.to_json()) == one
        keys.add(one.key)
    assert len(keys) == 1 + len(changes)


def test_a_transform_counts_by_its_content_and_is_stored_where_there_is_one():
    one, two = (data(transform=f"mine:augment@sha256-{digit * 64}") for digit in "01")
    assert "transform" not in KD.to_json()
    assert TrialSpec.from_json(one.to_json()) == one
    assert len({KD.key, one.key, two.key}) == 3


def test_students_inside_a_teacher_that_were_stored_before_they_inherited_stay_fresh():
    stored = json.loads(SPECS["subgraph"].to_json())
    assert stored["options"] == {"weight": 0.3, "choose": "uniform"}
    assert TrialSpec.from_json(json.dumps(stored)).options["inherit"] is False
    inheriting = method("subgraph", weight=0.3, choose="uniform")
    assert inheriting.key == method("subgraph", weight=0.3, choose="uniform", inherit=True).key != KEYS["subgraph"]
    assert json.loads(inheriting.to_json())["options"]["inherit"] is True
    fresh, bare = method("subgraph", inherit=False), replace(KD, method="subgraph", options={})
    assert TrialSpec.from_json(fresh.to_json()).key == fresh.key != bare.key


def test_a_path_is_no_part_of_a_key():
    moved = f"/elsewhere/process.json@sha256-{DIGEST}"
    assert first("distpro", process=moved, replay="final").key == KEYS["distpro"]
    assert replace(KD, teacher=replace(PRETRAINED, checkpoint="/mnt/other.pt")).key == KEYS["pretrained"]
