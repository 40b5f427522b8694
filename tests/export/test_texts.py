"""Exports of text students: tokens and a mask in, the tokenizer beside them, and the same classes outside."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import automl_kd
from automl_kd.data import load_data
from automl_kd.errors import DataError, ExportError
from automl_kd.export import ComparisonText, ExportOptions, Subject, TextInput, export_student
from automl_kd.export.graphs import make_graph, trace_program, write_program
from automl_kd.export.packages import require_package
from automl_kd.export.run_program import write_run_program
from automl_kd.methods import run_trial
from automl_kd.profiling import open_sizes
from automl_kd.profiling.measure import measure_graph
from automl_kd.spec import DataSpec, Recipe, TrialSpec
from tests import tiny
from tests.data.text.words import texts_of, write_set
from tests.methods.test_texts import SMALL


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    root = tmp_path_factory.mktemp("text")
    table = write_set(root / "set", count=360)
    spec = TrialSpec(
        space="search_spaces.bert:SPACE",
        architecture=SMALL,
        method="scratch",
        data=DataSpec(name=f"text:{table}", tokenizer=str(table.parent / "tokenizer.json"), max_length=10),
        recipe=Recipe(epochs=6, batch_size=16, optimizer="adamw", lr=3e-3, weight_decay=0.0),
        seed=0,
    )
    paths, seen = tiny.place(root, spec), tiny.Recorder()
    run_trial(spec, seen, paths)
    row = {"val_accuracy": seen.seen[6]["val_accuracy"], "test_accuracy": seen.seen[6]["test_accuracy"]}
    return Subject.load(paths.trial, root, row=row, standing=ComparisonText())


@pytest.fixture(scope="module")
def exported(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    out = tmp_path_factory.mktemp("out") / "student"
    return export_student(subject, out, ExportOptions(int8=True, max_int8_loss=10.0))


def test_the_folder_is_complete_and_proven(exported: Path) -> None:
    assert {"tokenizer.json", "student.onnx", "student.pt2", "student.int8.onnx", "run.py"} <= {
        path.name for path in exported.iterdir()
    }
    parity = json.loads((exported / "parity.json").read_text(encoding="utf-8"))
    assert parity["images"].startswith("validation texts of text:texts.csv")
    for name in ("student.onnx", "student.pt2"):
        assert [one["changed"] for one in parity["files"][name]] == [0, 0]
    card = (exported / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: text-classification" in card
    assert "A network for texts of up to 10 tokens and 3 classes" in card
    assert "image" not in card


def test_it_reads_back_and_names_what_it_named(exported: Path, subject: Subject) -> None:
    student: Any = automl_kd.load_student(exported)
    frame = texts_of(360)
    texts = frame.text[300:360].tolist()
    with torch.no_grad():
        named = [student.labels[place] for place in student(student.preprocess(texts)).argmax(1)]
        alone = [student.labels[int(student(student.preprocess(text)).argmax())] for text in texts[:5]]
    assert alone == named[:5]
    right = np.mean([one == two for one, two in zip(named, frame.label[300:360], strict=True)])
    assert right == pytest.approx(subject.row["test_accuracy"])


def test_the_graph_looks_at_the_mask_and_takes_any_length(exported: Path, subject: Subject) -> None:
    runtime = require_package("onnxruntime")
    session = runtime.InferenceSession(str(exported / "student.onnx"))
    assert [one.name for one in session.get_inputs()] == ["input_ids", "attention_mask"]
    assert [one.shape for one in session.get_inputs()] == [["batch", "length"]] * 2
    dataset = load_data(subject.spec.data, exported)
    for count in (1, 3, 7):
        ids = dataset.test.tokens_at(torch.arange(count)).numpy()
        mask = (ids != 0).astype(np.int64)
        (plain,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
        noise = np.where(mask == 0, 9, ids)  # whatever stands where the mask is 0
        (masked,) = session.run(None, {"input_ids": noise, "attention_mask": mask})
        np.testing.assert_array_equal(plain, masked)
        with torch.no_grad():
            np.testing.assert_allclose(plain, subject.student(torch.from_numpy(ids)).numpy(), atol=1e-4)


def test_the_graph_is_timed_at_the_stated_length(exported: Path, subject: Subject) -> None:
    found = measure_graph(exported / "student.onnx", 1, 0.01, open_sizes(subject.input.shape))
    assert found["median_ms"] > 0


def test_run_py_names_texts_without_torch(exported: Path) -> None:
    texts = texts_of(360).text[300:310].tolist()
    found = subprocess.run(
        [sys.executable, str(exported / "run.py"), *texts], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    student: Any = automl_kd.load_student(exported)
    with torch.no_grad():
        expected = [student.labels[place] for place in student(student.preprocess(texts)).argmax(1)]
    assert [line.rsplit(" ", 1)[1] for line in found] == expected
    assert "torch" not in (exported / "run.py").read_text(encoding="utf-8")


def test_what_cannot_be_exported_is_refused(subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="graphs take tokens, which a tokenizer makes of texts"):
        export_student(subject, tmp_path / "out", ExportOptions(preprocessing=True))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("max_length", "limit"), [(40, 40), (600, 512)])
def test_texts_may_be_longer_than_those_of_the_data(
    subject: Subject, tmp_path: Path, max_length: int, limit: int
) -> None:
    spec = replace(subject.spec, data=replace(subject.spec.data, max_length=max_length))
    longer = replace(subject, spec=spec)
    given, longest = longer.input, subject.dataset.train.inputs.shape[1]
    assert isinstance(given, TextInput)
    assert longest < limit == given.max_length == given.shape.longest  # the student has 512 positions
    program = trace_program(make_graph(subject.student, given.shape), given.shape)
    write_program(program, tmp_path / "student.pt2")
    loaded = torch.export.load(tmp_path / "student.pt2").module()
    text = " ".join(["word1 word33 word7"] * 200)
    ids = given(text)
    assert ids.shape == (1, limit)
    with torch.no_grad():
        found = loaded(ids, torch.ones_like(ids))
        assert torch.allclose(found, subject.student(ids), atol=1e-4)
    assert f"enable_truncation({limit})" in write_run_program(given, takes_bytes=False)
    assert given.summary == f"texts of up to {limit} tokens"


def test_other_things_than_texts_are_refused(subject: Subject) -> None:
    given = subject.input
    assert isinstance(given, TextInput)
    for wrong in (3, [3], [], [("a", "b", "c")]):
        with pytest.raises((DataError, TypeError)):
            given(wrong)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="some texts are single and others pairs"):
        given(["a", ("b", "c")])
    assert given("word1 word2").shape == (1, 4)
    assert given(("word1", "word2")).shape == (1, 5)
