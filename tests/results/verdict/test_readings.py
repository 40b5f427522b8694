"""Readings side by side: which rows serve which, what differs between them, and what longer training gains."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from automl_kd.api.result import Result
from automl_kd.decision.candidates import JudgedExperiment
from automl_kd.results import ResultTable, Row
from automl_kd.results.comparison.comparison import comparison
from automl_kd.results.comparison.sentences import comparison_sentences, reading
from automl_kd.results.comparison.table import comparison_markdown
from automl_kd.results.report.page import write_page
from automl_kd.results.verdict.gain import Verdict, judge_search
from automl_kd.results.verdict.readings import doubling_sentence, readings_sheet
from automl_kd.results.verdict.table import verdict_to_markdown
from automl_kd.spec import READINGS
from tests.results.distilled import teacher, trainings, write_distillation
from tests.results.synthetic import CONTEST, contest_finals, curve, finals, four_arms

BASE = {0: 0.90, 1: 0.91, 2: 0.92}
ALL = json.dumps(dict.fromkeys(READINGS, 1.0))


def served(rows: Sequence[Row], *names: str, share: float = 1.0, **changes: Any) -> list[Row]:
    """The rows as trainings that serve these readings; `mark` tells their keys from others'."""
    mark, text = changes.pop("mark", ""), json.dumps(dict.fromkeys(names or READINGS, share))
    return [dataclasses.replace(one, readings_json=text, key=f"{one.key}{mark}", **changes) for one in rows]


def three_readings(longer: float = 0.97) -> list[Row]:
    """Found 94 %; by compute and with a shared teacher plain KD has 91 %, from scratch `longer` and 90 %."""
    default, scratch = {"architecture_id": "d" * 12, "student": "default"}, dict.fromkeys(BASE, 0.0)
    levels = {seed: longer + 0.01 * (seed - 1) for seed in scratch}
    return [
        *served(finals("found-method", {0: 0.93, 1: 0.94, 2: 0.95}, architecture_id="f" * 12, student="found")),
        *served(finals("default-kd", BASE, **default)),
        *served(finals("default-scratch", levels, **default), "compute", mark="c", epochs=40),
        *served(finals("default-scratch", levels, **default), "shared-teacher", mark="s", epochs=26, last_epoch=0.5),
        *served(finals("default-scratch", BASE, **default), "epochs", mark="e", epochs=10),
    ]


def written(folder: Path, rows: Sequence[Row]) -> pd.DataFrame:
    table = ResultTable(folder)
    for one in rows:
        table.append(one, curve(one.val_accuracy or 0.5, one.epochs))
    return table.read()


def judge(folder: Path, rows: Sequence[Row], **finalists: Any) -> Verdict:
    return judge_search(written(folder, rows), record={"finalists": finalists})


def test_every_baseline_stands_in_every_reading(tmp_path):
    judged = judge(tmp_path, three_readings())
    scratch = judged.readings["the default student, scratch"]
    assert {name: round(one.gain.mean, 6) for name, one in scratch.items()} == {
        "compute": -0.03,
        "shared-teacher": -0.03,
        "epochs": 0.03,
    }
    assert [one.epochs for one in scratch.values()] == ["40", "25.5", "10"]
    assert set(judged.readings["the default student, plain KD"]) == set(READINGS)
    assert judged.arms["default-scratch"].epochs == 40
    sheet = readings_sheet(judged.readings)
    assert sheet is not None
    assert sheet.rows[0] == (
        "the default student, scratch",
        "-3.00 ± 0.00 (40 epochs)",
        "-3.00 ± 0.00 (25.5 epochs)",
        "+3.00 ± 0.00 (10 epochs)",
    )
    assert sheet.to_markdown() in verdict_to_markdown(judged)


def test_the_verdict_names_its_reading_and_says_where_readings_disagree(tmp_path):
    judged = judge(tmp_path / "one", three_readings())
    assert judged.sentence.startswith("Gained 3.00 points (95 % interval +3.00 to +3.00, 3 seeds) at equal compute: ")
    assert judged.readings_sentence.startswith(
        "The readings disagree: over the default student, scratch: worse at equal compute (-3.00), worse at equal "
        "compute with a shared teacher (-3.00), better at equal epochs (+3.00). The default student, scratch, gains "
    )
    agreed = judge(tmp_path / "two", three_readings(longer=0.91))
    assert "disagree" not in agreed.readings_sentence
    alone = [one for one in three_readings() if one.role != "default-scratch" or one.epochs == 10]
    only = served([dataclasses.replace(one, key=f"{one.key}x") for one in alone], "epochs")
    assert " at equal epochs: the found student" in judge(tmp_path / "three", only).sentence


def test_what_a_doubling_of_epochs_gains_by_hand(tmp_path):
    # From 10 to 40 epochs, two doublings, six points: 3 each.
    assert (
        "gains 3.00 points per doubling of epochs (10 to 40 epochs, 3 seeds)."
        in judge(tmp_path, three_readings()).readings_sentence
    )
    assert doubling_sentence("plain KD", {2.0: {0: 0.5}, 16.0: {0: 0.8}}) == (
        "Plain KD gains 10.00 points per doubling of epochs (2 to 16 epochs, 1 seed)."
    )
    assert "loses 10.00 points" in doubling_sentence("plain KD", {2.0: {0: 0.5}, 3.5: {0: 0.5}, 4.0: {0: 0.4}})
    assert doubling_sentence("plain KD", {10.0: {0: 0.5}, 12.0: {0: 0.8}}) == ""  # too near to each other
    assert doubling_sentence("plain KD", {10.0: {0: 0.5}, 20.0: {1: 0.8}}) == ""  # no seed in both


def test_rows_of_earlier_versions_have_one_reading(tmp_path):
    judged = judge(tmp_path, four_arms({0: 0.92, 1: 0.94, 2: 0.96}, BASE))
    assert judged.reading == "compute"
    assert set(judged.readings["the default student, plain KD"]) == {"compute"}
    assert readings_sheet(judged.readings) is None
    assert judged.readings_sentence == ""
    assert judged.arms["default-kd"].last_epoch == 1.0


def test_a_thinned_comparison_says_what_it_cannot_answer(tmp_path):
    rows = [one for one in three_readings() if one.role != "default-kd"]
    judged = judge(tmp_path / "one", rows, baselines=["default-scratch", "found-scratch"])
    assert judged.sentence == (
        "No verdict on the search, as finalists.baselines leaves out the default student by plain KD: the found "
        "student (found, 10.0 k parameters) trained by kd reaches 94.00 % on test."
    )
    assert judged.readings_sentence.endswith(
        "Not answered, as finalists.baselines leaves out the default student, plain KD: what the whole search gained."
    )
    assert judged.finished
    kept = judge(tmp_path / "two", three_readings(), baselines=["default-kd"])
    assert kept.sentence.startswith("Gained 3.00 points")
    assert kept.readings_sentence.endswith(
        ": what the architecture gained by itself; what the teaching gained by itself."
    )
    nothing = judge(tmp_path / "three", [one for one in rows if one.role == "found-method"], baselines=[])
    said = "No comparison was made, as finalists.baselines names no training to compare with: the found student "
    assert nothing.sentence.startswith(said)
    assert nothing.finished
    # Students begin fresh, so there is no training of that name.
    fresh = judge(tmp_path / "four", [one for one in rows if one.role == "found-method"], baselines=["found-fresh"])
    assert fresh.sentence.startswith(said)


def test_a_distillation_has_its_readings_too(tmp_path):
    method, *_ = (trainings(),)
    rows = [
        dataclasses.replace(one, readings_json=ALL) if one.role in {"found-method", "default-kd"} else one
        for one in method
    ]
    rows += served([one for one in method if one.role == "default-scratch"], "epochs", mark="e", epochs=10)
    record = json.loads((write_distillation(tmp_path, rows) / "experiment.json").read_text())
    judged = judge_search(ResultTable(tmp_path).read(), record=record)
    assert judged.distilled
    assert judged.sentence.startswith("Gained: resnet8 (77.8 k parameters) taught by weighted_losses")
    assert " at equal compute is 3.00 points better than plain KD" in judged.sentence
    assert set(judged.readings["training from scratch"]) == {"compute", "epochs"}
    by_kd = judged.readings["training from scratch, by plain KD (temperature=4)"]
    assert by_kd["compute"].gain.mean == pytest.approx(0.02)
    page = write_page(tmp_path, tmp_path / "page.html").read_text()
    assert "same epochs, points" in page
    alone = judge_search(
        written(tmp_path / "two", [teacher(), *(one for one in method if one.role == "found-method")]),
        record={**record, "finalists": {"baselines": []}},
    )
    assert (
        alone.sentence
        == "No comparison was made: resnet8 taught by weighted_losses (losses=dkd=1) reaches 96.00 % on test."
    )


def contest(folder: Path) -> pd.DataFrame:
    best = {0: 0.93, 1: 0.935, 2: 0.94}
    return written(
        folder,
        [
            *served(contest_finals("kd", BASE)),
            *served(contest_finals("kd", {seed: one - 0.04 for seed, one in BASE.items()}, 0.5), share=0.5),
            *served(contest_finals("scratch", best, method="scratch"), "compute", mark="c", epochs=90),
            *served(contest_finals("scratch", {0: 0.88, 1: 0.89, 2: 0.9}, method="scratch"), "epochs", mark="e"),
            *served(
                contest_finals("scratch", {0: 0.89, 1: 0.9, 2: 0.91}, method="scratch"), "shared-teacher", mark="s"
            ),
        ],
    )


def test_methods_are_compared_with_the_reference_in_every_reading(tmp_path):
    compared = comparison(contest(tmp_path), {"comparison": CONTEST})
    assert [(one.title, one.epochs, one.compute_fraction) for one in compared.entries] == [
        ("scratch", 90, 1.0),
        ("KD, tuned", 40, 1.0),
        ("KD, tuned", 20, 0.5),
    ]
    found = compared.readings["scratch, 100 %"]
    assert {name: round(one.gain.mean, 4) for name, one in found.items()} == {
        "compute": 0.025,
        "shared-teacher": -0.01,
        "epochs": -0.02,
    }
    assert "At full compute, against KD, tuned (91.00 % on test)" in comparison_sentences(compared)[0]
    told = " ".join(reading(compared))
    assert "number of methods: scratch, 100 % over KD, tuned: better at equal compute (+2.50), worse" in told
    # Four points from 20 to 40 epochs.
    assert "KD, tuned gains 4.00 points per doubling of epochs (20 to 40 epochs, 3 seeds)." in told
    assert "| scratch, 100 % | +2.50 ± " in comparison_markdown(compared)


def test_pages_show_the_readings(tmp_path):
    written(tmp_path / "search", three_readings())
    page = write_page(tmp_path / "search", tmp_path / "search.html").read_text()
    for text in ("What is equal", "same compute, teacher shared, points", "+3.00 ± 0.00 (10 epochs)", "25.5"):
        assert text in page
    contest(tmp_path / "methods")
    (tmp_path / "methods" / "experiment.json").write_text(json.dumps({"name": "methods", "comparison": CONTEST}))
    assert "same epochs, points" in write_page(tmp_path / "methods", tmp_path / "methods.html").read_text()
    old = written(tmp_path / "old", four_arms({0: 0.92, 1: 0.94, 2: 0.96}, BASE))
    assert old["readings_json"].isna().all()
    assert "What is equal" not in write_page(tmp_path / "old", tmp_path / "old.html").read_text()


def test_a_program_gets_the_readings_and_the_student_of_the_first(tmp_path):
    contest(tmp_path)
    (tmp_path / "experiment.json").write_text(json.dumps({"name": "methods", "comparison": CONTEST}))
    result = Result(tmp_path)
    assert {name: round(one.mean, 4) for name, one in result.verdict.readings["scratch, 100 %"].items()} == {
        "compute": 0.025,
        "shared-teacher": -0.01,
        "epochs": -0.02,
    }
    assert result.best.key.endswith("c")  # trained for the same compute


def test_the_best_student_is_of_the_best_options_at_full_compute(tmp_path):
    """Its other lengths and its second best options count for nothing."""
    methods = [
        {"name": "kd", "title": "KD", "method": "kd", "compute": [0.25, 1.0]},
        {"name": "losses", "title": "losses", "method": "weighted_losses", "best": 2},
    ]
    groups = [
        contest_finals("kd", {0: 0.81, 1: 0.81}, compute=0.25),
        contest_finals("kd", {0: 0.95, 1: 0.95}),
        contest_finals(
            "losses", {0: 0.93, 1: 0.94}, method="weighted_losses", mark="a", options_json='{"losses": "a"}'
        ),
        contest_finals(
            "losses", {0: 0.70, 1: 0.71}, method="weighted_losses", mark="b", options_json='{"losses": "b"}'
        ),
        contest_finals("lone", {0: 0.99}),
    ]
    written(tmp_path, [one for group in groups for one in group])
    lone = {"name": "lone", "title": "with one seed of two", "method": "kd"}
    record = {"name": "methods", "comparison": {"reference": "kd", "methods": [*methods, lone]}}
    (tmp_path / "experiment.json").write_text(json.dumps(record))
    best = Result(tmp_path).best
    assert (best.row["role"], best.row["compute_fraction"]) == ("kd", 1.0)
    found = JudgedExperiment.read(tmp_path)
    assert found.found is not None
    assert {one.role: one.test.mean for one in found.candidates} == {"lone": 0.99, "kd": 0.95, "losses": 0.935}
    assert (found.found.role, len(found.finals)) == ("kd", 5)


@pytest.mark.parametrize(("epochs", "last", "text"), [(13, 1.0, "13"), (13, 0.4, "12.4"), (3, 0.357, "2.36")])
def test_epochs_are_written_with_the_fraction_of_the_last(epochs, last, text, tmp_path):
    rows = served(finals("found-method", BASE), epochs=epochs, last_epoch=last)
    assert judge(tmp_path, rows).arms["found-method"].length == text


def warm_rows() -> list[Row]:
    """Found 94 %; the same from fresh weights 92 %, and by labels alone from the same weights 93 %."""
    found = {"architecture_id": "f" * 12, "student": "found"}
    fresh = served(finals("found-fresh", {0: 0.91, 1: 0.92, 2: 0.93}, **found), mark="f")
    labels = served(finals("found-labels", {0: 0.92, 1: 0.93, 2: 0.94}, method="scratch", **found), mark="l")
    rows = three_readings()
    warm = [dataclasses.replace(one, init="teacher") for one in rows if one.role == "found-method"]
    return [*warm, *(one for one in rows if one.role != "found-method"), *fresh, *labels]


def test_what_beginning_with_weights_gained_is_told_apart(tmp_path):
    judged = judge(tmp_path, warm_rows())
    assert judged.gains["warm start"].mean == pytest.approx(0.02)
    assert "The warm start, against the same from fresh weights: gained 2.00 points" in judged.parts_sentence
    assert judged.gains["teacher's answers"].mean == pytest.approx(0.01)
    answers = "The teacher's answers, against labels alone from the same weights: gained 1.00 points"
    assert answers in judged.parts_sentence
    assert "trained by kd from the teacher's weights reaches" in judged.sentence
    text = verdict_to_markdown(judged)
    assert "the warm start: found student with its method over the same from fresh weights" in text
    assert "| found student, labels alone, same weights | 93.00" in text


def alone() -> list[Row]:
    """The found student from scratch: 92 %."""
    found = {"architecture_id": "f" * 12, "student": "found"}
    return served(finals("found-scratch", {0: 0.91, 1: 0.92, 2: 0.93}, **found), mark="a")


def test_against_fresh_weights_teaching_and_start_count_together(tmp_path):
    """As that is what differs; and the default student, which begins warm, too, says so."""
    rows = [
        dataclasses.replace(one, init="teacher" if one.role == "default-kd" else one.init)
        for one in [*warm_rows(), *alone()]
    ]
    judged = judge(tmp_path, rows)
    assert "The teaching and the start, against the found student from scratch: gained" in judged.parts_sentence
    assert "| the teaching and the start: found student with its method over" in verdict_to_markdown(judged)
    assert "with plain KD from the teacher's weights 91.00 %" in judged.sentence
    assert "| kd from the teacher's weights |" in verdict_to_markdown(judged)


@pytest.mark.parametrize(("student", "said"), [("found", "architecture and the recipe"), ("default", "recipe")])
def test_a_recipe_that_was_found_is_not_the_architecture(tmp_path, student, said):
    schedule = '[[0.0, {"recipe.lr": 0.02}]]'
    identity = {"architecture_id": student[0] * 12, "student": student}
    rows = [
        dataclasses.replace(one, **identity, schedule_json=schedule) if one.role.startswith("found") else one
        for one in [*three_readings(), *alone()]
    ]
    assert f"The {said}, against the default student, both from scratch: " in judge(tmp_path, rows).parts_sentence


def test_a_student_that_its_method_makes_is_not_said_to_lack_labels_alone(tmp_path):
    rows = [one for one in warm_rows() if one.role != "found-labels"]
    asked = ["default-scratch", "default-kd", "found-scratch", "found-labels", "found-fresh"]
    assert "Not answered" not in judge(tmp_path, rows, baselines=asked).readings_sentence


def test_without_it_no_line_asks_for_it(tmp_path):
    judged = judge(tmp_path, three_readings())
    said = verdict_to_markdown(judged) + judged.readings_sentence
    assert "warm start" not in said
    assert "same weights" not in said
    left_out = judge(
        tmp_path / "thinned", [one for one in warm_rows() if one.role != "found-fresh"], baselines=["default-kd"]
    )
    assert "what beginning with weights gained by itself" in left_out.readings_sentence
    assert "what the teacher's answers gained by themselves" in left_out.readings_sentence
