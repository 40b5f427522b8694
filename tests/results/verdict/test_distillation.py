"""What may be said of one student: scratch 0.90, 0.91, 0.92 for seeds 0, 1, 2, and what teaching adds to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from automl_kd.results import ResultTable, Row
from automl_kd.results.verdict.distillation import headline, is_distillation, name_trainings
from automl_kd.results.verdict.distillation_table import (
    differences_sheet,
    distillation_cost_sheet,
    distillation_markdown,
    trainings_sheet,
)
from automl_kd.results.verdict.gain import Verdict, judge_search
from tests.results.distilled import KD, METHOD, SCRATCH, STUDENT, teacher, trainings
from tests.results.synthetic import finals, row


def judge(folder: Path, rows: list[Row]) -> Verdict:
    table = ResultTable(folder)
    for one in rows:
        table.append(one)
    return judge_search(table.read(), record={"space": "model:resnet8"})


def test_a_method_that_beats_both(tmp_path):
    # over KD 3, 4, 2 points: mean 3, s = 1, half width 4.3027 / sqrt 3 = 2.48; over scratch 5, 6, 4
    judged = judge(tmp_path, trainings())
    assert judged.distilled
    assert judged.sentence == (
        "Gained: resnet8 (77.8 k parameters) taught by weighted_losses (losses=dkd=1) at equal compute is 3.00 points"
        " better than plain KD (96.00 % on test against 93.00 %, 95 % interval +0.52 to +5.48, 3 seeds) and is 5.00"
        " points better than training from scratch (96.00 % on test against 91.00 %, 95 % interval +2.52 to +7.48, 3"
        " seeds)."
    )


def test_plain_kd_as_the_method_is_one_training(tmp_path):
    judged = judge(tmp_path, trainings(None))
    assert judged.sentence == (
        "Gained: resnet8 (77.8 k parameters) taught by plain KD (temperature=4) at equal compute is 2.00 points better"
        " than training from scratch (93.00 % on test against 91.00 %, 95 % interval +2.00 to +2.00, 3 seeds)."
    )
    rows = ResultTable(tmp_path).read()
    assert [line[0] for line in trainings_sheet(judged, rows).rows] == ["from scratch", "plain KD (temperature=4)"]
    assert len(differences_sheet(judged).rows) == 1


@pytest.mark.parametrize(
    ("method", "head", "words"),
    [
        (KD, "Gained over training from scratch alone: ", "shows no gain over plain KD (difference 0.00 points"),
        ({0: 0.96, 1: 0.90, 2: 0.93}, "No gain is shown: ", "shows no gain over training from scratch (difference +2"),
        ({0: 0.93, 1: 0.92, 2: 0.95}, "No gain is shown: ", "shows no gain over plain KD (difference +0.33"),
        ({0: 0.915, 1: 0.92, 2: 0.93}, "Worse than plain KD: ", "is 0.83 points worse than plain KD"),
        ({0: 0.80, 1: 0.81, 2: 0.82}, "Worse: ", "is 12.00 points worse than plain KD"),
        ({0: 0.93}, "One seed cannot separate a gain from chance: ", "differs from plain KD by +1.00 points"),
    ],
)
def test_no_gain_worse_one_seed_and_one_of_two(tmp_path, method, head, words):
    sentence = judge(tmp_path, trainings(method)).sentence
    assert words in sentence
    assert sentence.startswith(head) or (
        method is KD and sentence.startswith("Gained over training from scratch alone")
    )


def test_all_that_is_beaten_and_all_that_is_not_are_named():
    """Beside plain KD and training from scratch: from fresh weights, and labels alone from the same weights."""
    assert headline(["training from scratch", "plain KD"], [], 4, untold=False) == (
        "Gained over training from scratch and plain KD"
    )
    assert headline(["plain KD"], ["training from scratch", "labels"], 4, untold=False) == (
        "Worse than training from scratch and labels"
    )
    assert headline(["plain KD"], [], 2, untold=False) == "Gained over plain KD alone"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([teacher()], "No verdict yet: the student is not trained."),
        (finals("default-scratch", SCRATCH, **STUDENT), "No verdict yet: no training by the method is done."),
        (trainings()[:6], "Gained: "),
        ([*trainings()[:3], *trainings()[6:]], "No verdict yet: no training by plain KD is done."),
        (trainings()[3:6], "No verdict yet: no training from scratch is done."),
        (
            [*trainings()[:3], *finals("found-method", METHOD, **STUDENT, status="failed", error="killed")],
            "No verdict: none of 3 trainings by the method is complete.",
        ),
        (trainings({7: 0.9}), "No verdict: no seed was completed both by weighted_losses (losses=dkd=1) and by plain"),
    ],
)
def test_what_is_missing(tmp_path, rows, sentence):
    judged = judge(tmp_path, rows)
    said = judged.sentence
    assert said.startswith(sentence)
    assert not any(word in said for word in ("found", "search", "default", "final"))


def test_the_table_has_every_training_and_the_teacher(tmp_path):
    judged = judge(tmp_path, [teacher(), *trainings()])
    rows = ResultTable(tmp_path).read()
    sheet = trainings_sheet(judged, rows)
    assert [line[0] for line in sheet.rows] == [
        "from scratch",
        "plain KD (temperature=4)",
        "weighted_losses (losses=dkd=1)",
        "teacher, resnet20",
    ]
    # validation lies a point above test; s of 0.95, 0.97, 0.96 is a point, its half width 2.48
    assert sheet.rows[2][1:] == ("97.00", "96.00 ± 2.48", "1.00", "3", "77.8 k", "10", "20 s", "1.20 T", "0")
    assert sheet.rows[3][1:] == ("98.00", "97.00", "–", "1", "272 k", "30", "1 min 40 s", "5.00 T", "0")
    assert [line[0] for line in differences_sheet(judged).rows] == [
        "weighted_losses (losses=dkd=1) over plain KD (temperature=4)",
        "weighted_losses (losses=dkd=1) over training from scratch",
        "plain KD (temperature=4) over training from scratch",
    ]
    assert differences_sheet(judged).rows[2][1:] == ("+2.00", "+2.00 to +2.00", "3")
    assert [line[:2] for line in distillation_cost_sheet(judged).rows] == [
        ("teacher", "1"),
        ("student, all trainings", "12"),
    ]
    text = distillation_markdown(judged, rows)
    assert text.startswith(judged.sentence)
    assert "The teacher (resnet20) reaches 98.00 % on validation and 97.00 % on test; it has 272 k parameters" in text


def test_costs_in_a_sentence(tmp_path):
    assert judge(tmp_path, [teacher(), *trainings()]).cost_sentence == (
        "The teacher took 1 min 40 s and 5.00 T multiply-adds, as much as 5.00 trainings of the student by plain KD."
        " The compute was not equal: weighted_losses (losses=dkd=1) took 1.20 times that of plain KD."
        " The compute was not equal: weighted_losses (losses=dkd=1) took 1.20 times that of training from scratch."
    )


def test_a_teacher_from_a_file_took_nothing(tmp_path):
    given = teacher(method="from-file", epochs=1, seconds=0.0, train_macs=0.0)
    judged = judge(tmp_path, [given, *trainings(None)])
    assert judged.cost_sentence == "No teacher was trained here."
    line = trainings_sheet(judged, ResultTable(tmp_path).read()).rows[-1]
    assert (line[0], line[4:9]) == ("teacher, resnet20, from a file", ("–", "272 k", "–", "–", "–"))


@pytest.mark.parametrize(
    ("record", "distilled"),
    [
        ({"space": "model:resnet8"}, True),
        ({"space": "search_spaces.resnet:SPACE"}, False),
        ({"space": "model:resnet8", "hyperparameters": {"method.temperature": [1.0, 2.0]}}, False),
        ({"space": "model:resnet8", "search": {"perturb": {"recipe.lr": {"low": 0.1, "high": 0.2}}}}, False),
        ({}, False),
    ],
)
def test_an_experiment_tells_what_it_is_before_its_finals(tmp_path, record, distilled):
    ResultTable(tmp_path).append(teacher())
    assert is_distillation(ResultTable(tmp_path).read(), record) is distilled


def test_rows_alone_tell_a_distillation_by_its_finals(tmp_path):
    table = ResultTable(tmp_path)
    for one in trainings():
        table.append(one)
    assert is_distillation(table.read())
    assert judge_search(table.read()).distilled
    table.append(row(experiment="taught"))
    assert not is_distillation(table.read(), {"space": "model:resnet8"})  # a trial was searched


def test_the_same_student_without_training_by_a_teacher(tmp_path):
    # method scratch: KD stands beside it, and is what is judged
    scratch = finals("found-method", SCRATCH, **{**STUDENT, "method": "scratch", "epochs": 14})
    judged = judge(tmp_path, [*trainings()[:9], *scratch])
    assert judged.sentence.startswith("Gained: resnet8 (77.8 k parameters) taught by plain KD (temperature=4) at equal")


def test_in_a_ranking_beside_others_the_words_are_those_of_a_distillation(tmp_path):
    table = ResultTable(tmp_path)
    for one in [teacher(), *trainings()]:
        table.append(one)
    assert set(name_trainings(table.read())["role"]) == {"teacher", "from scratch", "plain KD", "method"}
