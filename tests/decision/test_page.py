"""The page of a real, small search: its numbers, its pictures, what it says without images, and what it never does."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from automl_kd.decision import MeasuredLatencies, write_decision_page
from automl_kd.decision.predictions import TestPredictions
from automl_kd.errors import ResultError
from automl_kd.export import ComparisonText, ExportOptions, Subject, export_student
from automl_kd.methods.model_card import load_trained_student
from automl_kd.models.weights.checkpoint import load_weights, save_weights
from automl_kd.results import ResultTable, Row, units
from tests import tiny
from tests.results.synthetic import write_experiment

NASTY = "</td><script>alert('x')</script> <img src=http://evil.example/x.png> $x_2$"


class Loads(HTMLParser):
    """Tags in order, every attribute that could load something, and the text of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in {"src", "href", "xlink:href", "srcset", "data"}]

    def handle_data(self, data):
        self.words.append(data)


def data_root(finished: Path) -> Path:
    return finished.parent / "data"


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "decision.html"
    return write_decision_page(finished, data_root(finished), out, commands=["automl-kd search mine.toml --set a=<b>"])


@pytest.fixture(scope="module")
def text(page):
    return page.file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def answers(page) -> TestPredictions:
    record = json.loads(page.predictions.read_text())
    columns: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in record.items()}
    return TestPredictions(**columns)


def cells(text: str, first: str) -> list[str]:
    """The cells of the table row that begins with `first`, which may be what is recommended."""
    found = re.search(rf"<tr><t[dh][^>]*>{re.escape(first)}(?: \(recommended\))?</t[dh]>(.*?)</tr>", text)
    assert found, first
    return re.findall(r"<td[^>]*>(.*?)</td>", found[1])


def shown_rows(finished: Path):
    rows = ResultTable(finished).read()
    ours = rows[rows["role"] == "found-method"].sort_values("val_accuracy", ascending=False)
    return rows, ours.iloc[0]


def answers_by_hand(finished: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Labels, and what teacher and student answer: built, normalised and run without the code under test."""
    rows, shown = shown_rows(finished)
    dataset = tiny.loaded(finished.parent)
    mean, std = (torch.tensor(one)[:, None, None] for one in (dataset.mean, dataset.std))
    images = (dataset.test.inputs / 255 - mean) / std
    teacher = tiny.teacher(tiny.SHAPE)
    key = rows[rows["trial_kind"] == "teacher"]["key"].iloc[0]
    load_weights(teacher, finished.parent / "teachers" / key / "student.pt")
    student = load_trained_student(finished / "trials" / shown["key"])
    with torch.inference_mode():
        return dataset.test.labels, teacher.eval()(images).argmax(1), student(images).argmax(1)


def test_answers_are_those_of_the_networks(finished, answers):
    labels, teacher, student = answers_by_hand(finished)
    assert answers.labels == tuple(labels.tolist())
    assert answers.teacher == tuple(teacher.tolist())
    assert answers.student == tuple(student.tolist())
    assert answers.class_names == ("dark", "middle", "bright")


def test_accuracies_of_answers_are_those_of_the_rows(finished, answers):
    rows, shown = shown_rows(finished)
    teacher = rows[rows["trial_kind"] == "teacher"].iloc[0]
    assert answers.trial == shown["key"]
    assert answers.right_share(answers.student) == pytest.approx(shown["test_accuracy"])
    assert answers.right_share(answers.teacher) == pytest.approx(teacher["test_accuracy"])


def test_every_class_has_the_accuracy_that_its_images_say(finished, text):
    labels, teacher, student = answers_by_hand(finished)
    for place, name in enumerate(("dark", "middle", "bright")):
        ours = labels == place
        theirs, own = ((one[ours] == place).double().mean().item() for one in (teacher, student))
        found = cells(text, name)
        assert found[:4] == [
            str(int(ours.sum())),
            units.percent(theirs),
            units.percent(own),
            units.points(own - theirs),
        ]


def test_the_matrix_of_the_student_is_first(finished, text):
    labels, teacher, student = answers_by_hand(finished)
    tables = re.findall(r'<table class="confusion">(.*?)</table>', text, re.DOTALL)
    for table, answered in zip(tables, (student, teacher), strict=True):
        counts = [int(one) for one in re.findall(r"<td[^>]*>(\d+)</td>", table)]
        wanted = [int(((labels == true) & (answered == answer)).sum()) for true in range(3) for answer in range(3)]
        assert counts == wanted


def test_networks_stand_side_by_side(finished, text):
    rows, _ = shown_rows(finished)
    ours = rows[rows["role"] == "found-method"]
    found = cells(text, "found student, its method")
    assert found[0].startswith(f"{100 * ours['test_accuracy'].mean():.2f} ± ")
    assert found[1:3] == ["2", f"{4 * ours['params'].iloc[0] / 1e6:.2f}"]
    assert found[4:6] == [units.format_count(ours["macs"].iloc[0]), units.format_count(ours["params"].iloc[0])]
    teacher = rows[rows["trial_kind"] == "teacher"].iloc[0]
    assert cells(text, "teacher")[0] == units.percent(teacher["test_accuracy"])
    assert cells(text, "teacher")[4] == units.format_count(teacher["macs"])


def test_what_is_recommended_comes_first_and_is_marked(page, text):
    assert f"<h2>{page.recommendation.headline}</h2>" in text
    assert page.recommendation.chosen is not None
    assert f">{page.recommendation.chosen.title} (recommended)</td>" in text
    headings = ["Side by side", "Accuracy against cost", "Classes", "Where they disagree", "What it cost", "Load it"]
    places = [text.index(page.recommendation.headline), *(text.index(f"<h2>{one}</h2>") for one in headings)]
    assert places == sorted(places)


def test_costs_are_the_sums_of_the_rows(finished, text):
    rows, _ = shown_rows(finished)
    for stage, kind in (("search", "search"), ("final comparison", "final"), ("teacher", "teacher")):
        ours = rows[rows["trial_kind"] == kind].drop_duplicates("key")
        found = cells(text[text.index("<h2>What it cost") :], stage)
        wanted = [str(len(ours)), units.duration(ours["seconds"].sum()), units.format_count(ours["train_macs"].sum())]
        assert found[:3] == wanted


def test_the_front_has_the_budget_and_the_found_student(text):
    assert text.count("<svg") == 1
    drawn = text[text.index("<svg") : text.index("</svg>")]
    for words in ("parameters", "budget", "found student", "search, complete", "search, stopped early", "front"):
        assert words in drawn
    assert "3 students of the search; the front" in text


def test_pictures_are_of_images_on_which_one_is_right(finished, text, answers):
    labels, teacher, student = answers_by_hand(finished)
    one_right = (teacher == labels) != (student == labels)
    assert 0 < len(answers.pictures) <= 10
    assert len(answers.pictures) == min(10, int(one_right.sum()))
    assert all(one_right[place] for place, _ in answers.pictures)
    shown = re.findall(r'<img src="([^"]+)"', text)
    assert shown == [source for _, source in answers.pictures]
    assert len(text) < 1_000_000


def test_loads_nothing(text):
    parsed = Loads(text)
    assert all(one.startswith(("#", "data:image/")) for one in parsed.loads)
    assert not {"link", "script", "iframe", "object"} & set(parsed.tags)
    assert not re.search(r"@import|url\((?!#)", text)
    assert set(re.findall(r"https?://[^\s\"'<>]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_commands_are_shown_as_text(text):
    assert "automl-kd search mine.toml --set a=&lt;b&gt;" in text


def test_the_loading_lines_run(text, finished):
    lines = "".join(Loads(text).words)
    code = lines[lines.index("import automl_kd") : lines.index("# picture: of PIL")]
    names: dict[str, object] = {"picture": Image.new("L", (8, 8), 77)}
    exec(code, names)
    assert names["answer"] in range(3)


def test_answers_are_not_computed_again(page, finished, text):
    told = []
    again = write_decision_page(
        finished,
        finished / "nowhere",  # neither images nor their folder are needed
        page.file,
        commands=["automl-kd search mine.toml --set a=<b>"],
        notify=lambda *one: told.append(one),
    )
    assert told == []
    assert again.predictions == page.predictions
    without = re.compile(r"pathlib.Path\([^)]*\)\)\.best")
    assert without.sub("", page.file.read_text()) == without.sub("", text)


def test_answers_of_another_teacher_or_trial_are_computed_anew(page, finished, tmp_path):
    kept = json.loads(page.predictions.read_text())
    out = tmp_path / "decision.html"
    beside = tmp_path / "decision.predictions.json"
    for change in ({"trial": "x"}, {"teacher_name": "x"}, {"images": "x"}, {"student": [9]}, {"labels": 3}):
        beside.write_text(json.dumps({**kept, **change}))
        write_decision_page(finished, data_root(finished), out)
        assert json.loads(beside.read_text()) == kept


def test_kept_answers_that_do_not_fit_the_rows_are_refused(page, finished, tmp_path):
    kept = json.loads(page.predictions.read_text())
    turned = {**kept, "student": [(one + 1) % 3 for one in kept["student"]]}
    (tmp_path / "decision.predictions.json").write_text(json.dumps(turned))
    with pytest.raises(ResultError, match="another order of classes than those of its training"):
        write_decision_page(finished, data_root(finished), tmp_path / "decision.html")
    assert not (tmp_path / "decision.html").exists()


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished.parent, tmp_path / "results")
    return tmp_path / "results" / "mine"


def test_a_teacher_with_its_classes_in_another_order_is_caught(copied):
    file = next((copied.parent / "teachers").glob("*/student.pt"))
    network: Any = tiny.teacher(tiny.SHAPE)
    load_weights(network, file)
    order = torch.tensor([1, 2, 0])
    with torch.no_grad():
        network.classifier.weight.copy_(network.classifier.weight[order])
        network.classifier.bias.copy_(network.classifier.bias[order])
    save_weights(network, file)
    with pytest.raises(ResultError, match=r"the teacher is right on .* another order of classes"):
        write_decision_page(copied, data_root(copied), copied / "decision.html")
    assert not (copied / "decision.html").exists()
    assert not (copied / "decision.predictions.json").exists()


def test_text_of_other_people_is_escaped(copied):
    table = ResultTable(copied)
    for row in table.read().to_dict("records"):
        if row["role"] == "found-method":
            known: dict[str, Any] = {
                str(name): None if units.missing(one) else one for name, one in row.items() if name != "config_hash"
            }
            named = dataclasses.replace(Row(**known), student=NASTY)
            table.append(named)
    record = json.loads((copied / "experiment.json").read_text())
    (copied / "experiment.json").write_text(json.dumps({**record, "name": NASTY}))
    text = write_decision_page(copied, data_root(copied), copied / "decision.html", commands=[NASTY]).file.read_text()
    parsed = Loads(text)
    assert "script" not in parsed.tags
    assert not any("evil" in one for one in parsed.loads)
    assert sum("evil.example" in words for words in parsed.words) >= 3


def test_without_weights_the_page_says_so(copied):
    shutil.rmtree(copied / "trials")
    page = write_decision_page(copied, data_root(copied), copied / "decision.html")
    assert page.predictions is None
    assert page.uncompared.startswith("Teacher and student could not be compared on the test images: ")
    text = page.file.read_text()
    assert "could not be compared on the test images" in text
    assert "Where they disagree" not in text
    assert page.recommendation.headline in text


def test_with_other_images_the_page_says_so(copied, monkeypatch):
    monkeypatch.setattr("automl_kd.export.subject.digest_dataset", lambda _dataset: "changed")
    page = write_decision_page(copied, data_root(copied), copied / "decision.html")
    assert "have changed since" in page.uncompared


def test_test_images_without_labels_are_said_to_have_none(page, finished, tmp_path):
    kept = json.loads(page.predictions.read_text())
    blind = {**kept, "labels": [-1] * len(kept["labels"]), "pictures": []}
    (tmp_path / "decision.predictions.json").write_text(json.dumps(blind))
    found = write_decision_page(finished, data_root(finished), tmp_path / "decision.html")
    assert "The test images have no labels" in found.file.read_text()
    assert found.recommendation.headline in found.file.read_text()


def test_rows_alone_are_enough(tmp_path):
    (tmp_path / "digits-tiny").mkdir()
    write_experiment(tmp_path / "digits-tiny")
    page = write_decision_page(tmp_path / "digits-tiny", tmp_path, tmp_path / "decision.html")
    assert page.uncompared
    text = page.file.read_text()
    assert cells(text, "teacher")[0] == "96.20"
    assert "Load it" not in text


def test_latencies_of_a_device_stand_in_the_table(finished, page, tmp_path):
    shutil.copy(page.predictions, tmp_path / "decision.predictions.json")
    _, shown = shown_rows(finished)
    given = MeasuredLatencies(device="Pixel 6 <b>", students={shown["architecture_id"]: 4.56}, teacher=33.0)
    text = write_decision_page(
        finished, data_root(finished), tmp_path / "decision.html", latencies=given
    ).file.read_text()
    assert cells(text, "teacher")[3] == "33"
    assert cells(text, "found student, its method")[3] == "4.56"
    assert "Latency: one image on Pixel 6 &lt;b&gt;." in text


def test_another_trial_can_be_shown(finished, tmp_path):
    rows, _ = shown_rows(finished)
    key = rows[rows["role"] == "found-scratch"]["key"].iloc[0]
    page = write_decision_page(finished, data_root(finished), tmp_path / "decision.html", trial_key=key)
    assert page.predictions is not None
    kept = json.loads(page.predictions.read_text())
    assert kept["trial"] == key
    assert kept["teacher"]  # named by the other trials
    assert "trained by scratch with seed 0" in page.file.read_text()
    with pytest.raises(ResultError, match="has no complete trial 0000, which is to be shown"):
        write_decision_page(finished, data_root(finished), tmp_path / "decision.html", trial_key="0000")


def export_shown(finished: Path, out: Path, options: ExportOptions) -> Path:
    _, shown = shown_rows(finished)
    row = {str(name): value for name, value in shown.items()}
    folder = finished / "trials" / shown["key"]
    subject = Subject.load(folder, data_root(finished), row=row, standing=ComparisonText())
    return export_student(subject, out, options)


def test_an_export_says_how_to_load_it_and_to_train_it_again(finished, tmp_path):
    folder = export_shown(finished, tmp_path / "out", ExportOptions(onnx=False, pt2=False))
    text = write_decision_page(
        finished, data_root(finished), tmp_path / "decision.html", export_folder=folder
    ).file.read_text()
    assert f"automl-kd search {folder / 'experiment.toml'}" in text
    assert cells(text, "student.safetensors")[1] == "–"
    words = "".join(Loads(text).words)
    code = words[words.index("import automl_kd") : words.index("# picture: of PIL")]
    names: dict[str, Any] = {"picture": Image.new("L", (8, 8), 77)}
    exec(code, names)
    assert names["label"] in {"dark", "middle", "bright"}
    assert "onnxruntime" not in text
    (folder / "parity.json").write_text("[")
    with pytest.raises(ResultError, match=r"is no record of an export .*; export the student again"):
        write_decision_page(finished, data_root(finished), tmp_path / "decision.html", export_folder=folder)


def test_an_export_of_another_experiment_is_refused(finished, tmp_path):
    folder = export_shown(finished, tmp_path / "out", ExportOptions(onnx=False, pt2=False))
    card = json.loads((folder / "student.json").read_text())
    card["spec"]["seed"] = 77
    (folder / "student.json").write_text(json.dumps(card))
    with pytest.raises(ResultError, match="give the experiment whose student was exported"):
        write_decision_page(finished, data_root(finished), tmp_path / "decision.html", export_folder=folder)


@pytest.mark.slow
def test_an_export_in_eight_bits_has_its_size_in_the_table(finished, tmp_path):
    folder = export_shown(finished, tmp_path / "out", ExportOptions(pt2=False, int8=True, max_int8_loss=50.0))
    text = write_decision_page(
        finished, data_root(finished), tmp_path / "decision.html", export_folder=folder
    ).file.read_text()
    size = f"{(folder / 'student.int8.onnx').stat().st_size / 1e6:.2f}"
    assert cells(text, "found student, its method")[3] == size
    assert cells(text, "default student, plain KD")[3] == "–"
    assert cells(text, "student.int8.onnx")[0] == size
    parity = json.loads((folder / "parity.json").read_text())["files"]
    assert cells(text, "student.onnx")[1] == units.percent(parity["student.onnx"][0]["accuracy"])
    assert cells(text, "student.safetensors")[1] == units.percent(parity["student.onnx"][0]["student_accuracy"])
    words = "".join(Loads(text).words)
    code = words[words.index("import onnxruntime") : words.index(" # float32 (n, 1, 8, 8)")]
    names: dict[str, Any] = {"images": np.zeros((3, 1, 8, 8), dtype=np.float32)}
    exec(code, names)
    assert names["outputs"].shape == (3, 3)
