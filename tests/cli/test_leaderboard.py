"""`automl-kd leaderboard` on a folder of made-up results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from automl_kd.results import ResultTable
from tests.conformance.sketches import sketched
from tests.results.synthetic import row, write_experiment

__all__ = ["sketched"]

pytestmark = pytest.mark.usefixtures("sketched")


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_experiment(tmp_path / "tiny", trials=40).folder


def test_tables_verdict_and_files(run, folder):
    code, out, err = run("leaderboard", "tiny")
    assert (code, err) == (0, "")
    titles = [line.rstrip() for line in out.splitlines() if line.startswith("tiny: ")]
    # of 40 trials 5 failed (6, 13, ...) and 9 were stopped (3, 7, ... without 27, which failed)
    assert titles == ["tiny: teacher", "tiny: search trials, best 20 of 26", "tiny: finals"]
    assert "search trial 6 (depth=6, kd, seed 0, key 0000000000000006) after 2 epochs: the loss became nan" in " ".join(
        out.split()
    )
    assert "Gained 1.93 points (95 % interval " in " ".join(out.split())
    assert out.splitlines()[-2:] == [f"written to {folder}/leaderboard.{kind}" for kind in ("html", "md")]
    page, text = ((folder / f"leaderboard.{kind}").read_text() for kind in ("html", "md"))
    assert text.startswith("<!-- made by: automl-kd leaderboard tiny -->")
    assert "Gained 1.93 points" in page
    assert "\x1b" not in out


def test_a_line_that_fits_100_columns_is_not_broken(run, folder):
    out = run("leaderboard", "tiny").out
    assert max(len(line) for line in out.splitlines() if not line.startswith("written to ")) <= 100
    [taught] = [line for line in out.splitlines() if line.startswith("found student, its method")]
    assert taught.split()[4:8] == ["95.20", "±", "0.90", "3"]  # mean and interval of 95.1, 95.6 and 94.9


def test_several_experiments_into_a_new_folder(run, tmp_path, folder):
    ResultTable(tmp_path / "other").append(row(experiment="other"))
    code, out, _ = run("leaderboard", ".", "other", "--out", "reports/new")
    assert code == 0
    assert out.count("other: search trials") == 1  # named twice, shown once
    assert sorted(path.name for path in (tmp_path / "reports" / "new").iterdir()) == [
        "leaderboard.html",
        "leaderboard.md",
    ]


def test_an_experiment_without_a_verdict_is_shown_all_the_same(run, tmp_path):
    ResultTable(tmp_path / "young").append(row(experiment="young"))
    code, out, _ = run("leaderboard", "young")
    assert code == 0
    assert "No verdict yet: the final trials are not done" in out


def test_no_results(refused, tmp_path):
    assert refused("leaderboard", "nowhere").startswith("there is no folder nowhere; give the folder of an experiment")
    assert refused("leaderboard", ".").startswith("no results are in .; give the folder of an experiment")
    (tmp_path / "empty" / "rows").mkdir(parents=True)
    assert "without any finished trial" in refused("leaderboard", "empty")


def test_a_torn_file_is_named_before_anything_is_printed(refused, tmp_path, folder):
    (tmp_path / "torn" / "rows" / "trial_kind=search").mkdir(parents=True)
    (tmp_path / "torn" / "rows" / "trial_kind=search" / "a.parquet").write_bytes(b"PAR1 and half of it")
    assert "torn/rows/trial_kind=search/a.parquet cannot be read as Parquet" in refused("leaderboard", "tiny", "torn")
    (folder / "experiment.json").write_text("{")
    assert f"{folder.name}/experiment.json cannot be read" in refused("leaderboard", "tiny")


def test_where_the_files_cannot_go(refused, tmp_path, folder):
    (tmp_path / "taken").write_text("mine")
    assert f"{tmp_path}/taken is not a folder" in refused("leaderboard", "tiny", "--out", "taken")
    assert "looks like a file; name a folder" in refused("leaderboard", "tiny", "--out", "board.html")


def test_no_space_leaves_nothing(refused, folder, no_space):
    assert "No space left on device" in refused("leaderboard", "tiny", "--out", "reports/new")


def test_texts_of_rows_are_no_html_in_markdown(run, tmp_path):
    tag = "<img src=x onerror=alert(1)>"
    table = ResultTable(tmp_path / "results" / "mine")
    table.append(row(key="a1", student=tag, options_json=json.dumps({"text": tag})))
    table.append(row(key="b2", status="failed", student=tag, error=f"RuntimeError: {tag}"))
    assert run("leaderboard", "results/mine").code == 0
    made, *rest = (tmp_path / "results" / "mine" / "leaderboard.md").read_text().splitlines()
    assert made == "<!-- made by: automl-kd leaderboard results/mine -->"
    assert not [line for line in rest if "<" in line]
    assert sum("&lt;img src=x" in line for line in rest) >= 2, "in the table, and among the failures"
    assert tag not in (tmp_path / "results" / "mine" / "leaderboard.html").read_text()


@pytest.mark.parametrize(
    ("name", "text"),
    [("finals.json", "[" * 9999), ("finals.json", '{"final": 3}'), ("experiment.json", '{"comparison": []}3')],
)
def test_damaged_records_are_one_sentence(run, tmp_path, name, text):
    ResultTable(tmp_path / "results" / "mine").append(row(key="a1"))
    (tmp_path / "results" / "mine" / name).write_text(text)
    code, out, err = run("leaderboard", "results/mine")
    assert (code, out) == (2, "")
    assert f"{name} cannot be read (" in err
