"""A whole export: what is in it reads back and does what the student does, and one that fails leaves nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import automl_kd
from automl_kd.errors import CheckpointError, DataError, ExportError
from automl_kd.export import ComparisonText, ExportOptions, Subject, export_student, graphs
from automl_kd.export.card import introduction
from automl_kd.export.runners import RUNNERS, run_onnx, run_program
from automl_kd.models.weights.checkpoint import load_weights
from automl_kd.spec import Stage, TeacherSpec
from automl_kd.tasks import find_task
from tests import tiny

ALL = ExportOptions(int8=True, max_int8_loss=10.0)
FILES = {
    *("student.safetensors", "student.onnx", "student.pt2", "student.int8.onnx", "student.json"),
    *("labels.json", "preprocessing.json", "experiment.toml", "README.md", "parity.json", "run.py"),
}


def bytes_of_validation(subject: Subject, count: int) -> Tensor:
    """uint8 (count, 8, 8, 1)."""
    images = subject.dataset.validation.inputs
    return images[torch.arange(count) % len(images)].permute(0, 2, 3, 1)


@pytest.fixture(scope="module")
def exported(trial, tmp_path_factory) -> dict[bool, Path]:
    """Folders with all files, without preprocessing in graphs and with it."""
    root = tmp_path_factory.mktemp("exports")
    subject = Subject.load(trial, root, row={}, standing=ComparisonText())
    return {
        inside: export_student(subject, root / str(inside), replace(ALL, preprocessing=inside))
        for inside in (False, True)
    }


def test_accuracy_is_not_compared_with_another_metric(subject, tmp_path):
    plain = replace(ALL, onnx=False, int8=False)
    wrong = replace(subject, row={**subject.row, "val_accuracy": -0.25})
    with pytest.raises(ExportError, match=r"and its results say -25\.00%"):
        export_student(wrong, tmp_path / "refused", plain)
    followed = replace(wrong.dataset, task=find_task("classification", "macro_f1"))
    assert export_student(replace(wrong, dataset=followed), tmp_path / "out", plain).exists()


@pytest.mark.slow
def test_every_file_is_there_and_reads_back(exported, subject):
    out = exported[False]
    assert {path.name for path in out.iterdir()} == FILES
    assert json.loads((out / "labels.json").read_text()) == ["dark", "middle", "bright"]
    record = json.loads((out / "preprocessing.json").read_text())
    assert (record["size"], record["channel_order"]) == ([8, 8], "grey")
    assert record["mean"] == list(subject.dataset.mean)
    parity = json.loads((out / "parity.json").read_text())
    assert set(parity["files"]) == {"student.onnx", "student.pt2", "student.int8.onnx"}
    for passes in parity["files"].values():
        assert [(one["batch"], one["images"]) for one in passes] == [(64, 22), (1, 22)]
    assert parity["files"]["student.pt2"][0]["difference"] == 0.0
    assert set(parity["versions"]) == {"python", "torch", "onnx", "onnxscript", "onnxruntime"}
    network = tiny.Net(tiny.SHAPE, 4)
    load_weights(network, out / "student.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_graphs_take_any_batch(exported, subject, batch):
    pictures = bytes_of_validation(subject, batch)
    given = subject.input(pictures.permute(0, 3, 1, 2))
    with torch.no_grad():
        logits = subject.student(given)
    for run in (run_onnx(exported[False] / "student.onnx"), run_program(exported[False] / "student.pt2")):
        torch.testing.assert_close(run(given), logits, rtol=1e-4, atol=1e-5)
    for run in (run_onnx(exported[True] / "student.onnx"), run_program(exported[True] / "student.pt2")):
        torch.testing.assert_close(run(pictures), logits.softmax(1), rtol=1e-4, atol=1e-6)
    eight_bits = run_onnx(exported[False] / "student.int8.onnx")(given)
    torch.testing.assert_close(eight_bits, logits, rtol=0.1, atol=0.1)
    inside = run_onnx(exported[True] / "student.int8.onnx")(pictures)
    torch.testing.assert_close(inside, eight_bits.softmax(1), rtol=0.05, atol=0.02)


@pytest.mark.slow
def test_graphs_hold_neither_images_nor_the_source(exported):
    import onnx

    model = onnx.load(str(exported[False] / "student.onnx"))
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    with graphs.silenced():
        (example,) = torch.export.load(exported[False] / "student.pt2").example_inputs[0]
    assert example.untyped_storage().nbytes() == 2 * 64 * 4
    assert not bool(example.any())


@pytest.mark.slow
def test_a_loaded_export_brings_its_preprocessing_and_labels(exported, subject):
    student: Any = automl_kd.load_student(exported[False])
    assert not student.training
    picture = Image.fromarray(bytes_of_validation(subject, 1)[0, :, :, 0].numpy())
    given = student.preprocess(picture)
    torch.testing.assert_close(given, subject.validation_images(torch.tensor([0])))
    assert student.labels[int(student(given).argmax())] in {"dark", "middle", "bright"}
    with torch.no_grad():
        assert torch.equal(student(given), subject.student(given))
    assert student.state_dict().keys() == subject.student.state_dict().keys()
    (exported[False] / "labels.json").write_text("7")
    with pytest.raises(CheckpointError, match=r"is damaged .*export the student again"):
        automl_kd.load_student(exported[False])
    (exported[False] / "labels.json").write_text(json.dumps(["dark", "middle", "bright"]))


@pytest.mark.slow
def test_changed_weights_are_refused_and_nothing_is_left(subject, tmp_path, monkeypatch):
    import onnx

    write = graphs.write_onnx

    def write_wrongly(program, path, *names):
        write(program, path, *names)
        model = onnx.load(str(path))
        tensor = next(one for one in model.graph.initializer if one.data_type == 1 and len(one.dims) == 2)
        values = onnx.numpy_helper.to_array(tensor).copy()
        values[::2] += 0.5
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        onnx.save_model(model, str(path))

    monkeypatch.setattr(graphs, "write_onnx", write_wrongly)
    with pytest.raises(ExportError, match=r"student.onnx, at batch 64 on 22 validation images, .*nothing was written"):
        export_student(subject, tmp_path / "made" / "out", ExportOptions(pt2=False))
    assert list(tmp_path.glob("made*")) == []


@pytest.mark.parametrize("kept", [True, False])
def test_a_graph_that_names_other_classes_is_refused(subject, tmp_path, monkeypatch, kept):
    def run_other(_path):
        def run(images: Tensor) -> Tensor:
            with torch.no_grad():
                logits: Tensor = subject.student(images)
            return logits if kept else logits.flip(1)

        return run

    monkeypatch.setitem(RUNNERS, ".pt2", run_other)
    out, options = tmp_path / "out", ExportOptions(onnx=False)
    if kept:
        export_student(subject, out, options)
        return
    with pytest.raises(ExportError, match=r"student.pt2, at batch 64 .*nothing was written"):
        export_student(subject, out, options)
    assert list(tmp_path.iterdir()) == []


def test_the_page_tells_what_is_known(subject, tmp_path):
    page = (export_student(subject, tmp_path / "out", ExportOptions(onnx=False)) / "README.md").read_text()
    head, _, body = page.removeprefix("---\n").partition("\n---\n")
    for field in ("license", "tags", "datasets", "metrics"):
        assert f"\n{field}: " in f"\n{head}"
    for text in (
        "# width 4",
        "Gained 1.00 points.",
        "The search took 3 s.",
        subject.spec.key,
        "| student.pt2 | 64 | 22 |",
    ):
        assert text in body


@pytest.mark.parametrize(
    ("method", "changes", "said"),
    [
        ("scratch", {}, "on labels alone from the weights of resnet20."),
        ("kd", {}, "by kd from the weights of resnet20, taught by resnet20."),
        ("kd", {"recipe.lr": 0.02}, "by kd (lr = 0.02) from the weights of resnet20, taught by resnet20."),
        ("kd", {"student.init": "fresh"}, "by kd, taught by resnet20."),
    ],
)
def test_the_page_tells_what_it_began_with_and_who_taught_it(subject, tmp_path, method, changes, said):
    schedule = (Stage(0.0, changes),) if changes else ()
    teacher = TeacherSpec(model="resnet20")
    given = replace(subject.spec, method=method, init="teacher", teacher=teacher, schedule=schedule)
    assert said in introduction(replace(subject, spec=given))


def test_the_page_names_no_folder_of_this_machine(subject, tmp_path):
    named = replace(subject, row={**subject.row, "dataset": "folder:/home/ada/secret/photos"})
    out = export_student(named, tmp_path / "out", ExportOptions(onnx=False))
    for file in ("README.md", "parity.json"):
        text = (out / file).read_text(encoding="utf-8")
        assert "folder:photos" in text
        assert "secret" not in text


def test_places_and_images_that_do_not_fit(subject, trial, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with pytest.raises(ExportError, match="is there already; name a folder that is not, or is empty"):
        export_student(subject, tmp_path / "there", ALL)
    with pytest.raises(ValueError, match="max_int8_loss must be 0 or more"):
        ExportOptions(max_int8_loss=-1.0)
    with pytest.raises(ValueError, match="int8 is made of the ONNX file"):
        ExportOptions(onnx=False, int8=True)
    card = json.loads((trial / "student.json").read_text())
    changed = tmp_path / "results" / "trials" / "key"
    changed.mkdir(parents=True)
    card["spec"]["data"]["digest"] = "0" * 16
    (changed / "student.json").write_text(json.dumps(card))
    (changed / "student.pt").write_bytes((trial / "student.pt").read_bytes())
    with pytest.raises(DataError, match=r"the images of tests.tiny:source have changed since key was trained"):
        Subject.load(changed, tmp_path, row={}, standing=ComparisonText())


def test_bytes_and_what_the_student_is_given_are_each_others_inverse(subject):
    rows = torch.arange(22)
    pictures = subject.dataset.validation.inputs.permute(0, 2, 3, 1)
    assert np.array_equal(subject.as_bytes(subject.validation_images(rows)).numpy(), pictures.numpy())


@pytest.mark.parametrize(
    ("metric", "said", "elsewhere"),
    [
        ("accuracy", "It is right on 40.00 % of the test images.", "macro"),
        ("macro_f1", "It reaches 40.00 % by macro F1 on the test images.", "test images. It is right"),
    ],
)
def test_the_page_names_the_metric(subject, tmp_path, metric, said, elsewhere):
    dataset = replace(subject.dataset, task=find_task("classification", metric))
    out = export_student(replace(subject, dataset=dataset), tmp_path / "out", replace(ALL, onnx=False, int8=False))
    page = (out / "README.md").read_text(encoding="utf-8")
    assert f"\nmetrics: [{metric}]\n" in page
    assert said in page
    assert elsewhere not in page
    assert ("What is called accuracy here is macro F1, in hundredths." in page) is (metric == "macro_f1")
    recorded = json.loads((out / "parity.json").read_text())["recorded_accuracy"]
    assert recorded == (subject.row["val_accuracy"] if metric == "accuracy" else None)
