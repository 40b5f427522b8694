"""Texts in place of the images of `tests.tiny`: as many of them, an encoder and a recurrent network as small as its."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn

from automl_kd.data import load_data
from automl_kd.methods import make_method
from automl_kd.models import build_model
from automl_kd.models.text.bert import Bert, BertPlan
from automl_kd.models.text.bilstm import Bilstm, BilstmPlan
from automl_kd.models.text.shape import as_text
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import InputShape, Values
from automl_kd.spec import DataSpec, TeacherSpec, TrialSpec, teacher_trial
from tests import tiny
from tests.data.text.words import write_set


def texts_below(root: Path, count: int = 132) -> DataSpec:
    """A set of so many texts below `root`, written once, two thirds of them for training."""
    table = root / f"texts{count}" / "texts.csv"
    if not table.exists():
        write_set(table.parent, count)
    return DataSpec(name=f"text:{table}", tokenizer=str(table.parent / "tokenizer.json"))


def encoder(shape: InputShape, width: int, *, layers: int = 1, dropout: float = 0.1) -> Bert:
    return Bert(as_text(shape), BertPlan(layers, 3 * width, heads=3, inner=3 * width, positions=16, dropout=dropout))


def build(values: Values, shape: InputShape) -> nn.Module:
    return encoder(shape, int(values["width"]))


def build_recurrent(values: Values, shape: InputShape) -> nn.Module:
    return Bilstm(as_text(shape), BilstmPlan(1, embedding=12, hidden=int(values["width"])))


def build_exact(values: Values, shape: InputShape) -> nn.Module:
    """In float64, so that a difference is one of meaning and not of rounding, and without dropout."""
    return encoder(shape, int(values["width"]), dropout=0.0).double()


def build_exact_recurrent(values: Values, shape: InputShape) -> nn.Module:
    plan = BilstmPlan(1, embedding=12, hidden=int(values["width"]), dropout=0.0)
    return Bilstm(as_text(shape), plan).double()


def build_dropping(values: Values, shape: InputShape) -> nn.Module:
    return encoder(shape, int(values["width"])).double()


def teacher(shape: InputShape) -> nn.Module:
    return encoder(shape, 8, layers=2)


def exact_teacher(shape: InputShape) -> nn.Module:
    return encoder(shape, 8, layers=2, dropout=0.0).double()


SPACE = dataclasses.replace(tiny.SPACE, build=build)
RECURRENT = dataclasses.replace(tiny.SPACE, build=build_recurrent)
EXACT = dataclasses.replace(tiny.SPACE, build=build_exact)
EXACT_RECURRENT = dataclasses.replace(tiny.SPACE, build=build_exact_recurrent)
DROPPING = dataclasses.replace(tiny.SPACE, build=build_dropping)

TEACHER = TeacherSpec(model="tests.data.text.subject:teacher", recipe=tiny.TEACHER.recipe)
EXACT_TEACHER = TeacherSpec(model="tests.data.text.subject:exact_teacher")


def taught(root: Path, method: str, space: str, **changes: Any) -> TrialSpec:
    """A trial whose student is of `space`, by its name here, and whose data and teacher lie under `root` afterwards."""
    spec = tiny.spec(method=method, space=f"{__name__}:{space}", data=texts_below(root), **changes)
    if not make_method(method, spec.options).needs_teacher:
        return spec
    return dataclasses.replace(spec, teacher=left_teacher(root, TEACHER, spec.data))


def left_teacher(root: Path, known: TeacherSpec, data: DataSpec) -> TeacherSpec:
    """`known`, whose weights lie where a trial looks for them afterwards."""
    weights = root / "teachers" / teacher_trial(known, data).key / "student.pt"
    if not weights.exists():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(11)
            save_weights(build_model(known.model, load_data(data, root).shape), weights)
    return known
