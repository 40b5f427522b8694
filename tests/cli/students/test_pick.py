"""`automl-kd pick`: the answer on the terminal, as JSON and as files; what is refused."""

from __future__ import annotations

import json

import pytest

from automl_kd.api.result import Result
from automl_kd.config import load_experiment
from automl_kd.export.loading import load_exported
from automl_kd.methods import run_trial
from tests import tiny
from tests.results.archive.made import final, proxies, trial, two_finals, write_archive
from tests.results.synthetic import score


@pytest.fixture
def folder(tmp_path):
    return write_archive(tmp_path / "mine", two_finals(), [*proxies(1, 1, 1), *proxies(3, 0, 0)])


def test_a_table_and_sentences(run, folder):
    code, out, err = run("pick", "mine", "--max-params", "50k")
    assert (code, err) == (0, "")
    header, best, plain, *_ = out.splitlines()
    assert header.split()[:2] == ["architecture", "method"]
    assert best.split()[:6] == ["best,", "smallest", "ffffffffffff", "kd", "82.00", "±"]
    assert plain.split()[:3] == ["plain", "dddddddddddd", "kd"]
    assert max(len(line) for line in (header, best, plain)) <= 100
    assert "With at most 50.0 k parameters, take ffffffffffff (net ffffffffffff), taught by kd" in out
    assert "was only scored" in out
    assert "\x1b" not in out


def test_top_says_how_many_are_not_shown(run, folder):
    out = run("pick", "mine", "--top", "1").out
    assert "1 more keep the limits; --top or --out shows them" in out
    assert "dddddddddddd" not in out


def test_json_alone_is_on_stdout(run, folder):
    code, out, err = run("pick", "mine", "--json", "--out", "front", "--max-macs", "1.5M", "--max-size", "1MB")
    record = json.loads(out)
    assert code == 0
    assert record["limits"] == {"macs": 1.5e6, "size_mb": 1.0}
    assert record["best"]["architecture_id"] == "f" * 12
    assert err.splitlines() == [f"written to {folder.parent}/front/front.{kind}" for kind in ("csv", "md", "html")]


def test_files_name_the_command(run, folder):
    assert run("pick", "mine", "--max-params", "2M", "--out", "front/new").code == 0
    text = (folder.parent / "front" / "new" / "front.md").read_text()
    assert text.startswith("<!-- made by: automl-kd pick mine - -max-params 2M - -out front/new -->")


def test_only_scored_students_end_with_one_and_the_command_that_trains(run, folder):
    code, out, _ = run("pick", "mine", "--max-params", "3k")
    assert code == 1
    assert f"automl-kd pick mine --max-params 3000 --train train-{1:012x}.toml && automl-kd search train-" in out


def test_the_command_writes_an_experiment(run, tmp_path):
    scores = [score("naswot", 1, 1.0, space="tests.tiny:SPACE", values_json='{"width": 9}')]
    write_archive(tmp_path / "mine", two_finals(), scores, {"name": "mine"})
    (tmp_path / "mine" / "experiment.json").unlink()
    code, out, _ = run("pick", "mine", "--max-params", "3k", "--train", "small.toml")
    assert code == 1
    assert out.splitlines()[-1] == "written to small.toml"
    assert load_experiment(tmp_path / "small.toml").finalists.baseline == {"width": 9}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("mine", "--max-params", "2 apples"), "'2 apples' is no number of params above zero; write it as 2M, 300k or"),
        (("mine", "--max-latency", "-1ms"), "'-1ms' is no number of ms above zero; write it as 5ms, 0.2s or 5"),
        (("mine", "--max-latency", "5ms"), "has a measured latency, so --max-latency cannot be answered; limit params"),
        (("mine", "--max-params", "10"), "the least is 1.00 k parameters; raise the limit, or search again"),
        (("mine", "--device", "pixel"), "no latency is of a device 'pixel'; none was measured"),
        (("gone",), "there is no folder gone; give the folder of an experiment"),
        (("mine/scores",), "no student is in mine/scores, neither trained nor scored; give the folder"),
        (("mine", "--top", "0"), "--help lists commands and options"),
        (("mine", "--train", "mine/experiment.json"), "mine/experiment.json is there already; give another name"),
        (("mine", "--out", "mine/experiment.json"), "is not a folder, and the front should go there; give another"),
    ],
)
def test_mistakes_are_refused(refused, folder, arguments, sentence):
    assert sentence in refused("pick", *arguments)


def test_a_training_that_is_not_missing_is_not_written(refused, tmp_path):
    write_archive(tmp_path / "full", two_finals())
    assert "no training is missing for this budget" in refused("pick", "full", "--train", "more.toml")


def test_a_damaged_table_of_scores_is_named(refused, folder):
    (file,) = (folder / "scores").glob("*.parquet")
    file.write_bytes(file.read_bytes()[:-20])
    assert f"{file.name} cannot be read as Parquet" in refused("pick", "mine")


def test_the_command_that_is_named_exports_the_student(run, tmp_path):
    pytest.importorskip("onnx")
    spec = tiny.spec(method="scratch")
    place = tiny.place(tmp_path / "mine", spec)
    run_trial(spec, tiny.Recorder(), place)
    taught = {"space": spec.space, "method": "scratch", "spec_json": spec.to_json(), "seed": spec.seed}
    best = final(spec.key, "a" * 12, 0.9, 59, role="found-scratch", **taught)
    write_archive(tmp_path / "mine", [best, trial("s0", "b" * 12, 0.1, 5)])
    (command,) = [line for line in run("pick", "mine").out.splitlines() if "automl-kd export" in line]
    arguments = command.partition("automl-kd export ")[2].split()
    assert arguments == [f"mine/trials/{spec.key}", "student-" + "a" * 12]
    assert run("export", *arguments, "--no-onnx", "--no-pt2").code == 0
    assert load_exported(tmp_path / arguments[1]).labels


def test_python_asks_the_same(folder):
    choice = Result(folder).pick(max_params="15k")
    assert choice.best is not None
    assert choice.best.architecture_id == "f" * 12
    assert Result(folder).pick(max_params=15_000, max_size=0.05).best == choice.best


def test_the_version_is_printed(run):
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("automl-kd 0.")
