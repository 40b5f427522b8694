"""`automl-kd score`: what it ranks and writes, and what it refuses."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from automl_kd.space import Architecture, Choice, Parameter, SearchSpace
from tests import tiny
from tests.data.text.words import write_set

SPACES = ("search_spaces.resnet_depth:SPACE", "search_spaces.nasbench201:SPACE")
QUICK = ("--sample", "3", "--images", "8", "--teacher", "resnet8", "--out", "scores")
PAIR = SearchSpace(
    name="pair",
    source="these tests",
    parameters={"width": Parameter(Choice((2, 16)))},
    build=tiny.build,
    default={"width": 2},
)
"""One of the two has as many channels as the teacher `tests.tiny:teacher`."""

COLUMNS = (
    "space",
    "architecture_id",
    "student",
    "proxy",
    "score",
    "spread",
    "repeats",
    "seconds",
    "params",
    "macs",
    "seed",
)


def written(folder) -> pd.DataFrame:
    [path] = (folder / "scores" / "scores").glob("*.parquet")
    return pd.read_parquet(path)


@pytest.mark.parametrize("space", SPACES)
def test_the_table_and_the_file_agree(run, tmp_path, space):
    code, out, err = run("score", space, "--proxies", "naswot,params", "--repeats", "2", *QUICK)
    frame = written(tmp_path)
    assert code == 0
    told, stage = err.splitlines()
    assert told.startswith("data digits: 10 classes, 1,294 training, ")
    assert stage == "scoring 3 architectures by naswot, params"
    assert set(COLUMNS) <= set(frame.columns)
    assert len(frame) == 6
    assert sorted(frame["proxy"].unique()) == ["naswot", "params"]
    by_params = frame[frame["proxy"] == "params"]
    assert (by_params["score"] == by_params["params"]).all()
    assert (by_params["spread"] == 0).all()
    assert (frame["seconds"] >= 0).all()
    heading, *lines, last = out.splitlines()
    assert heading.split() == ["rank", "architecture", "description", "naswot", "params", "seconds"]
    assert {line.split()[1] for line in lines if line.split()[0].isdigit()} == set(frame["architecture_id"])
    assert len(lines) == 3  # a long description is cut short, not wrapped
    assert re.fullmatch(rf"written to {tmp_path}/scores/scores/[0-9a-f]{{16}}\.parquet", last)


def test_a_seed_decides_the_scores(run, tmp_path):
    frames = []
    for folder, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run("score", SPACES[0], "--proxies", "naswot", *QUICK[:-1], str(tmp_path / folder / "scores"), "--seed", seed)
        frames.append(written(tmp_path / folder)[["architecture_id", "score"]])
    pd.testing.assert_frame_equal(frames[0], frames[1])
    assert not frames[0].equals(frames[2])


def test_no_more_than_the_space_has_and_only_the_top_is_printed(run, tmp_path):
    plain = ("--proxies", "params", "--data", "tests.tiny:source", "--out", "scores", "--sample", "50", "--top", "4")
    _, out, err = run("score", "tests.tiny:SPACE", *plain)
    assert err.splitlines()[1:] == ["scoring 14 architectures by params"]
    # widest first; a width w has 9 w weights, 2 w of the norm, 3 w + 3 of the classifier
    assert [line.split()[4] for line in out.splitlines()[1:-1]] == [str(14 * width + 3) for width in (15, 14, 13, 12)]
    assert len(written(tmp_path)) == 14


def test_what_a_proxy_failed_on_is_said_shown_and_ranked_last(run):
    plain = ("--proxies", "diswot_semantic", "--data", "tests.tiny:source", "--teacher", "tests.tiny:teacher")
    code, out, err = run("score", "tests.cli.test_score:PAIR", *plain, "--out", "scores", "--sample", "2")
    assert code == 0
    assert "proxy 'diswot_semantic' fails on 1 of 2 architectures: " in " ".join(err.split())
    failed = out.splitlines()[2].split()
    assert failed[1] == Architecture.of({"width": 2}).key
    assert "–" in failed


def test_texts_are_scored_by_the_tokens_of_a_tokenizer(run, tmp_path):
    table = write_set(tmp_path / "set")
    plain = ("--proxies", "grad_norm", "--data", f"text:{table}", "--sample", "2", "--images", "8", "--out", "scores")
    code, _, err = run("score", "search_spaces.bilstm:SPACE", *plain, "--tokenizer", str(table.parent))
    assert code == 0
    assert "160 training, 40 validation, 40 test texts" in err
    assert (written(tmp_path)["score"] > 0).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("search_spaces.resnet_dept:SPACE", "--proxies", "params"), "did you mean 'search_spaces.resnet_depth:SPACE'"),
        ((SPACES[0], "--proxies", "synflo"), "no proxy is called 'synflo'; did you mean 'synflow'?"),
        ((SPACES[0], "--proxies", " , "), "--proxies ' , ' names no proxy; 'automl-kd show proxies' lists them"),
        ((SPACES[0], "--proxies", "params", "--data", "digit"), "no dataset is called 'digit'"),
        ((SPACES[0], "--proxies", "diswot", "--teacher", "resnet57"), "no model is called 'resnet57'"),
        ((SPACES[0], "--proxies", "math:pi"), "'math:pi' is a float, and a ProxyEntry was wanted"),
        (
            (SPACES[0], "--proxies", "diswot_semantic", "--teacher", "resnet8x4", "--sample", "2"),
            "proxy 'diswot_semantic' fails on all 2 architectures: diswot_semantic needs equal (classes, channels)",
        ),
    ],
)
def test_refused(refused, arguments, sentence):
    assert sentence in refused("score", *arguments)


def test_a_file_in_the_way_is_seen_before_the_work(refused, tmp_path):
    (tmp_path / "taken").write_text("mine")
    assert f"{tmp_path}/taken is not a folder" in refused("score", SPACES[0], "--proxies", "params", "--out", "taken")


def test_no_space_leaves_nothing(refused, no_space):
    said = refused("score", SPACES[0], "--proxies", "params", "--sample", "2")
    assert said == "No space left on device; make room or choose another --out, then run it again"
