"""Exports of recurrent students: an LSTM is one operation, texts may have any length, and padding is not read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from automl_kd.export import ComparisonText, ExportOptions, Subject, export_student
from automl_kd.export.graphs import lstm_as_one, make_graph, trace_program, write_onnx, write_program
from automl_kd.export.packages import require_package
from automl_kd.methods import run_trial
from automl_kd.models import build, load_space
from automl_kd.models.text.bilstm import Bilstm, BilstmPlan
from automl_kd.space import Architecture, TextShape
from automl_kd.spec import DataSpec, Recipe, TrialSpec
from tests import tiny
from tests.data.text.words import write_set

SHAPE = TextShape(width=6, classes=3, vocabulary=40, longest=12)
TEXTS = torch.tensor([[5, 6, 7, 0, 0, 0, 0], [8, 9, 5, 6, 11, 12, 13], [4, 0, 0, 0, 0, 0, 0]])


def longer(texts: Tensor) -> Tensor:
    return torch.nn.functional.pad(texts, (0, 4))


@pytest.fixture(scope="module")
def student() -> Bilstm:
    torch.manual_seed(0)
    return Bilstm(SHAPE, BilstmPlan(layers=2, embedding=8, hidden=6)).eval()


def test_texts_that_are_turned_around_give_the_states_of_packed_ones(student: Bilstm) -> None:
    there = TEXTS != 0
    with torch.no_grad():
        words = student.words(TEXTS)
        packed, turned = student.states(words, there), student.turned_states(words, there)
    torch.testing.assert_close(turned[there], packed[there])
    assert not torch.allclose(turned[0, 0, 6:], turned[1, 0, 6:])  # the backward states are not all alike


def test_padding_changes_no_state_of_a_text(student: Bilstm) -> None:
    given = longer(TEXTS)
    with torch.no_grad():
        short = student.turned_states(student.words(TEXTS), TEXTS != 0)
        long = student.turned_states(student.words(given), given != 0)
    torch.testing.assert_close(long[given != 0], short[TEXTS != 0], rtol=0, atol=1e-6)


def test_graphs_take_texts_of_any_length_and_do_not_read_padding(student: Bilstm, tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    program = trace_program(make_graph(student, SHAPE), SHAPE)
    write_program(program, tmp_path / "student.pt2")
    write_onnx(program, tmp_path / "student.onnx", names=("input_ids", "attention_mask"))
    kinds = [node.op_type for node in require_package("onnx").load(tmp_path / "student.onnx").graph.node]
    assert kinds.count("LSTM") == 4  # two layers in two directions
    assert "Loop" not in kinds
    session = require_package("onnxruntime").InferenceSession(str(tmp_path / "student.onnx"))
    loaded: Any = torch.export.load(tmp_path / "student.pt2").module()
    with torch.no_grad():
        expected = student(TEXTS)
        for texts in (TEXTS, longer(TEXTS), TEXTS[:2]):
            mask = (texts != 0).long()
            noise = torch.where(mask == 0, 9, texts)  # whatever stands where the mask is 0
            (found,) = session.run(None, {"input_ids": noise.numpy(), "attention_mask": mask.numpy()})
            np.testing.assert_allclose(found, expected[: len(texts)].numpy(), atol=1e-5)
            torch.testing.assert_close(loaded(noise, mask), expected[: len(texts)])


def test_what_exporters_see_is_put_back() -> None:
    lstm = torch.nn.LSTM(3, 4, batch_first=True)
    given = torch.randn(1, 5, 3)
    kernels = dict(torch.ops.aten.lstm.input.py_kernels)
    with torch.no_grad():
        before = lstm(given)[0]
        with lstm_as_one():
            assert torch.ops.aten.lstm.input.py_kernels != kernels
        assert torch.equal(lstm(given)[0], before)
    assert dict(torch.ops.aten.lstm.input.py_kernels) == kernels


@pytest.mark.slow
def test_a_trained_one_is_exported_with_parity(tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    table = write_set(tmp_path / "set", count=240)
    spec = TrialSpec(
        space="search_spaces.bilstm:SPACE",
        architecture=Architecture.of({"layers": 2, "embedding": 64, "hidden": 64}),
        method="scratch",
        data=DataSpec(name=f"text:{table}", tokenizer=str(table.parent / "tokenizer.json"), max_length=10),
        recipe=Recipe(epochs=3, batch_size=16, optimizer="adamw", lr=3e-3, weight_decay=0.0),
        seed=0,
    )
    paths, seen = tiny.place(tmp_path, spec), tiny.Recorder()
    run_trial(spec, seen, paths)
    row = {"val_accuracy": seen.seen[3]["val_accuracy"], "test_accuracy": seen.seen[3]["test_accuracy"]}
    subject = Subject.load(paths.trial, tmp_path, row=row, standing=ComparisonText())
    folder = export_student(subject, tmp_path / "student", ExportOptions(int8=True, max_int8_loss=10.0))
    parity = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
    for name in ("student.onnx", "student.pt2"):
        assert [one["changed"] for one in parity["files"][name]] == [0, 0]


def test_the_default_one_is_traced_without_weights() -> None:
    space = load_space("search_spaces.bilstm:SPACE")
    real = build(space, Architecture.of(space.default), SHAPE, seed=0).eval()
    with torch.device("meta"):
        bare = space.build(space.default, SHAPE).eval()
    with torch.no_grad():
        assert bare(TEXTS.to("meta")).shape == real(TEXTS).shape == (3, 3)
