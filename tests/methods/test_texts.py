"""Trials on texts: every kind of method learns, and a broken run continues to the same bits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from automl_kd.data import load_data
from automl_kd.data.order import bucket_by_length
from automl_kd.errors import ConfigError, StopTrial
from automl_kd.methods import run_trial
from automl_kd.models.text.bert import Bert, BertPlan
from automl_kd.models.text.shape import as_text
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import Architecture, InputShape
from automl_kd.spec import (
    FROM_TEACHER,
    DataSpec,
    Recipe,
    TeacherCacheOptions,
    TeacherSpec,
    TrialPaths,
    TrialSpec,
    teacher_trial,
)
from automl_kd.training import loop
from automl_kd.training.trial import load_dataset
from tests import tiny
from tests.data.text.words import write_set

SMALL = Architecture.of({"layers": 1, "width": 96, "heads": 3, "mlp": 1.0, "embedding": 32, "start": "first"})
TEACHER = TeacherSpec(model="tests.methods.test_texts:teacher", recipe=Recipe(epochs=1, batch_size=16))
RECIPE = Recipe(epochs=3, batch_size=16, optimizer="adamw", lr=3e-3, weight_decay=0.0)


def teacher(shape: InputShape) -> nn.Module:
    return Bert(as_text(shape), BertPlan(layers=2, width=48, heads=4, inner=96, positions=64))


@pytest.fixture
def data(tmp_path: Path) -> DataSpec:
    table = write_set(tmp_path / "set")
    return DataSpec(name=f"text:{table}", tokenizer=str(table.parent / "tokenizer.json"))


def trial(root: Path, data: DataSpec, method: str, **changes: Any) -> tuple[TrialSpec, TrialPaths]:
    spec = TrialSpec(
        **{
            "space": "search_spaces.bert:SPACE",
            "architecture": SMALL,
            "method": method,
            "data": data,
            "teacher": None if method == "scratch" else TEACHER,
            "recipe": RECIPE,
            "seed": 0,
            **changes,
        }
    )
    trained = root / "teachers" / teacher_trial(TEACHER, data).key / "student.pt"
    if not trained.exists():
        torch.manual_seed(3)
        save_weights(teacher(load_data(data, root).shape), trained)
    return spec, tiny.place(root, spec)


METHODS: dict[str, dict[str, Any]] = {
    "scratch": {},
    "kd": {},
    "weighted_losses": {"losses": "kd=0.5, at=10, at.stages=pre_pool, pkt=10, pkt.stages=pooled, minilm=1, ce=1"},
    "prokt": {"interval": 1},
    "lkd": {},
    "distpro": {"stages": "stage1+pre_pool:stage2+logits"},
}


@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_method_trains_on_texts(tmp_path: Path, data: DataSpec, method: str) -> None:
    spec, paths = trial(tmp_path, data, method, options=METHODS[method])
    seen = tiny.Recorder()
    run_trial(spec, seen, paths)
    last = seen.seen[3]
    assert last["train_loss"] < seen.seen[1]["train_loss"]
    assert 0 <= last["test_accuracy"] <= 1
    assert last["latency_ms"] > 0
    texts = load_data(data, tmp_path)
    assert last["train_macs"] >= 3 * 3 * len(texts.train) * last["macs"]


def test_training_on_labels_learns_the_classes(tmp_path: Path, data: DataSpec) -> None:
    spec, paths = trial(tmp_path, data, "scratch", recipe=dataclasses.replace(RECIPE, epochs=8))
    seen = tiny.Recorder()
    run_trial(spec, seen, paths)
    assert seen.seen[8]["test_accuracy"] > 0.8


@pytest.mark.parametrize("method", ["kd", "prokt", "lkd"])
def test_a_broken_trial_continues_to_the_same_bits(
    tmp_path: Path, data: DataSpec, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    spec, whole = trial(tmp_path, data, method)
    broken = dataclasses.replace(whole, trial=tmp_path / "broken")
    first, second = tiny.Recorder(), tiny.Recorder()
    run_trial(spec, first, whole)
    with pytest.raises(StopTrial):
        run_trial(spec, tiny.Recorder(stop=2), broken)
    run_trial(spec, second, broken)
    one, two = (torch.load(paths.trial / "student.pt", weights_only=True) for paths in (whole, broken))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    for what in ("train_loss", "val_loss", "test_accuracy"):
        assert first.seen[3][what] == second.seen[3][what]


def test_a_teachers_outputs_are_the_same_with_a_cache_and_without(tmp_path: Path, data: DataSpec) -> None:
    spec, plain = trial(tmp_path, data, "kd")
    found = []
    modes: list[tuple[Literal["off", "logits"], str]] = [("off", "off"), ("logits", "writes"), ("logits", "reads")]
    for keep, name in modes:
        seen = tiny.Recorder()
        run_trial(
            spec, seen, dataclasses.replace(plain, trial=tmp_path / name, teacher_cache=TeacherCacheOptions(keep=keep))
        )
        found.append((torch.load(tmp_path / name / "student.pt", weights_only=True), seen.seen[3]))
    (off, _), (writes, _), (reads, read) = found
    for name, value in off.items():
        assert torch.equal(value, writes[name])
        assert torch.equal(value, reads[name])
    passes = -(-160 // RECIPE.batch_size)
    assert read["teacher_passes"] == 0
    assert found[1][1]["teacher_passes"] == passes  # one epoch serves all
    assert found[0][1]["teacher_passes"] == passes
    assert read["teacher_passes_saved"] == 3 * passes


def test_a_student_begins_with_layers_of_its_teacher(tmp_path: Path, data: DataSpec) -> None:
    own = Architecture.of({"layers": 2, "width": 96, "heads": 3, "mlp": 1.0, "embedding": 384, "start": "first"})
    spec, paths = trial(tmp_path, data, "kd", architecture=own, init=FROM_TEACHER)
    seen = tiny.Recorder()
    run_trial(spec, seen, paths)
    fresh, place = trial(tmp_path, data, "kd", architecture=own)
    other = tiny.Recorder()
    run_trial(fresh, other, place)
    assert seen.seen[1]["train_loss"] != other.seen[1]["train_loss"]


def test_batches_have_texts_of_about_one_length_in_another_order_each_epoch() -> None:
    torch.manual_seed(0)
    lengths = torch.randint(3, 60, (1000,))
    orders = [bucket_by_length(torch.randperm(1000), lengths, 16, seed=1, epoch=epoch) for epoch in (1, 2)]
    for rows in orders:
        assert rows.sort().values.equal(torch.arange(1000))
        batches = lengths[rows[: 1000 // 16 * 16]].view(-1, 16)
        waste = 1 - batches.sum() / (16 * batches.max(dim=1).values.sum())
        assert waste < 0.05
        firsts = batches.float().mean(dim=1)
        assert firsts.diff().abs().mean() > 5  # batches come in random order
    assert not torch.equal(*orders)
    few = torch.randperm(10)
    assert torch.equal(bucket_by_length(few, lengths, 16, seed=1, epoch=1), few)


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ({"mixup": 0.2}, "recipe.mixup is for images, and the data are texts; drop it"),
        ({"augment": "crop-flip"}, "recipe.augment = 'crop-flip' is for images, and the data are texts"),
        ({"train_resolution": 16}, "recipe.train_resolution is for images"),
    ],
)
def test_views_of_images_are_refused(tmp_path: Path, data: DataSpec, recipe: dict[str, Any], sentence: str) -> None:
    spec, paths = trial(tmp_path, data, "scratch", recipe=dataclasses.replace(RECIPE, **recipe))
    with pytest.raises(ConfigError, match=sentence):
        run_trial(spec, tiny.Recorder(), paths)


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_other_tasks_are_learnt_by_plain_methods_and_refused_by_others(tmp_path: Path, task: str) -> None:
    import pandas as pd

    table = write_set(tmp_path / "set")
    frame = pd.read_csv(table)
    frame["label"] = (
        [f"{one}|sell" if row % 2 else one for row, one in enumerate(frame.label)]
        if task == "multi-label"
        else frame.label.map({"ask": -1.0, "buy": 0.0, "sell": 1.0})
    )
    frame.to_csv(table, index=False)
    data = DataSpec(name=f"text:{table}", tokenizer=str(table.parent / "tokenizer.json"), task=task)
    for method in ("scratch", "kd", "weighted_losses"):
        options = {"losses": "kd=1, pkt=10, pkt.stages=pooled, ce=1"} if method == "weighted_losses" else {}
        spec, paths = trial(tmp_path, data, method, options=options)
        seen = tiny.Recorder()
        run_trial(spec, seen, paths)
        assert seen.seen[3]["train_loss"] < seen.seen[1]["train_loss"]
    for method, options in (("prokt", {}), ("weighted_losses", {"losses": "dist=1"})):
        spec, paths = trial(tmp_path, data, method, options=options)
        with pytest.raises(ConfigError, match=f"data.task is '{task}'; choose"):
            run_trial(spec, tiny.Recorder(), paths)


@pytest.fixture(autouse=True)
def forget_sets() -> None:
    load_dataset.cache_clear()
