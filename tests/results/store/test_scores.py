"""Scores on disk, and their ranking by hand."""

from __future__ import annotations

import pytest

from automl_kd.errors import ResultError
from automl_kd.results.store.scores import rank_architectures, read_scores, write_scores
from tests.results.synthetic import score

# a beats b beats c by both proxies, but c has no score by the second.
TWO_PROXIES = [
    *(score("naswot", number, value) for number, value in {1: 30.0, 2: 20.0, 3: 10.0}.items()),
    *(score("synflow", number, value) for number, value in {1: 5.0, 2: 4.0}.items()),
    score("synflow", 3, None, error="the loss was not finite", spread=None),
]


def test_round_trip_and_the_same_batch_once(tmp_path):
    first = write_scores(tmp_path, TWO_PROXIES[:3])
    assert write_scores(tmp_path, TWO_PROXIES[:3]) == first
    assert write_scores(tmp_path, TWO_PROXIES[2:]) != first
    scores = read_scores(tmp_path)
    assert len(scores) == 6
    assert scores["score"].sum() == 69.0
    assert str(scores["params"].dtype) == "Int64"


def test_a_score_goes_before_an_error(tmp_path):
    write_scores(tmp_path, [score("synflow", 1, None, error="killed")])
    write_scores(tmp_path, [score("synflow", 1, 3.0)])
    assert read_scores(tmp_path)["score"].tolist() == [3.0]


def test_no_scores_are_an_empty_frame(tmp_path):
    assert read_scores(tmp_path).empty
    assert rank_architectures(read_scores(tmp_path)).empty


def test_torn_scores_are_named(tmp_path):
    write_scores(tmp_path, TWO_PROXIES).write_bytes(b"PAR1")
    with pytest.raises(ResultError, match=r"scores/.*\.parquet cannot be read"):
        read_scores(tmp_path)


def test_rank_sum_by_hand(tmp_path):
    write_scores(tmp_path, TWO_PROXIES)
    board = rank_architectures(read_scores(tmp_path))
    # ranks by naswot 1 2 3, by synflow 1 2 3 (a failure is last): sums 2 4 6
    assert board["student"].tolist() == ["depth=1", "depth=2", "depth=3"]
    assert board["rank"].tolist() == [1, 2, 3]
    assert board["rank_sum"].tolist() == [2.0, 4.0, 6.0]
    assert board["naswot"].tolist() == [30.0, 20.0, 10.0]
    assert board["seconds"].tolist() == [1.0] * 3


def test_equal_sums_share_a_rank(tmp_path):
    # ranks 1 2 and 2 1: both sums are 3
    crossed = [score("a", 1, 9.0), score("a", 2, 8.0), score("b", 1, 8.0), score("b", 2, 9.0)]
    write_scores(tmp_path, crossed)
    assert rank_architectures(read_scores(tmp_path))["rank"].tolist() == [1, 1]


def test_seeds_are_averaged_and_datasets_kept_apart(tmp_path):
    write_scores(tmp_path, [score("a", 1, 1.0), score("a", 1, 3.0, seed=1), score("a", 1, 7.0, dataset="cifar10")])
    board = rank_architectures(read_scores(tmp_path))
    assert dict(zip(board["dataset"], board["a"], strict=True)) == {"cifar10": 7.0, "digits": 2.0}
    assert board["rank"].tolist() == [1, 1]
