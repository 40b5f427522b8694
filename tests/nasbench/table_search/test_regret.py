"""Incumbents, bands and hypervolumes by hand; scores from files of either kind."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_kd.errors import AutoMLKDError
from automl_kd.nasbench.table.columns import parse_column
from automl_kd.nasbench.table.score_column import read_column
from automl_kd.nasbench.table.table import Choosing, Reporting, Table, Yardsticks
from automl_kd.nasbench.table_search import regret
from tests.nasbench.table_files import NUMBERS, cell, write


def choosing(values, name="cifar10_valid_acc_12"):
    return Choosing(parse_column(name), np.array(values))


def reporting(values):
    return Reporting(parse_column("cifar10_test_acc_200"), np.array(values))


def rungs(of):
    return np.array(of, dtype=np.int8)


class TestIncumbents:
    def test_the_best_chosen_so_far_and_the_earlier_of_equals(self):
        rows = np.array([[2, 0, 1, 3]])
        # accuracies 0.5, 0.7, 0.7, 0.9: 0 is better than 2, 1 is as good as 0, 3 is better
        held = regret.incumbents(rows, rungs([[0, 0, 0, 0]]), [choosing([0.7, 0.7, 0.5, 0.9])])
        np.testing.assert_array_equal(held, [[2, 0, 0, 3]])

    def test_a_long_training_outweighs_a_better_short_one(self):
        short, long = choosing([0.9, 0.8]), choosing([0.4, 0.3], "cifar10_trainhalf_test_acc_200_s888")
        held = regret.incumbents(np.array([[0, 1, 1]]), rungs([[0, 0, 1]]), [short, long])
        np.testing.assert_array_equal(held, [[0, 0, 1]])

    def test_nothing_is_asked_after_the_end(self):
        held = regret.incumbents(np.array([[1, 0, -1]]), rungs([[0, 0, 0]]), [choosing([0.2, 0.6])])
        np.testing.assert_array_equal(held, [[1, 1, 1]])

    def test_at_times_by_what_had_been_answered(self):
        held, seconds = np.array([[5, 6, 7]]), np.array([[10.0, 20.0, 30.0]])
        # before the first answer nothing; at 20 the second is there; after 30 the search is over
        found = regret.at_seconds(held, seconds, [9.0, 10.0, 20.0, 29.9, 30.0, 31.0])
        np.testing.assert_array_equal(found, [[-1, 5, 6, 6, 7, -1]])

    def test_regret_is_on_test_while_validation_chooses(self):
        by = Yardsticks(choosing([0.9, 0.1]), reporting([0.5, 0.75]))
        frame = regret.curve_frame([4], [1.0, 2.0], np.array([[0, -1]]), by, "queries")
        assert frame["regret"].tolist()[0] == 0.25
        assert math.isnan(frame["regret"][1])
        assert frame["seed"].tolist() == [4, 4]
        assert frame["at"].tolist() == [1.0, 2.0]


class TestBands:
    def test_by_hand(self):
        frame = pd.DataFrame({"axis": "queries", "at": [1.0] * 5, "regret": [0.4, 0.0, 0.1, 0.3, 0.2]})
        (row,) = regret.bands(frame).to_dict("records")
        # sorted 0, .1, .2, .3, .4: the tenth and ninetieth percentile lie 0.4 steps from the ends
        np.testing.assert_allclose([row["low"], row["middle"], row["high"], row["mean"]], [0.04, 0.2, 0.36, 0.2])
        assert row["seeds"] == 5

    def test_a_seed_without_a_value_leaves_no_band(self):
        frame = pd.DataFrame({"axis": "hours", "at": [1.0, 1.0, 2.0, 2.0], "regret": [0.1, np.nan, 0.1, 0.3]})
        found = regret.bands(frame)
        assert found["middle"].isna().tolist() == [True, False]

    def test_of_nothing(self):
        frame = pd.DataFrame({"axis": [], "at": [], "regret": []})
        assert regret.bands(frame).empty


class TestHypervolume:
    # accuracies .5 .7 .9 at latencies 1 2 4; 0.4 below the best is .5, the slowest is 4
    ACCURACY, LATENCY = (0.5, 0.7, 0.9), np.array([1.0, 2.0, 4.0])

    def scene(self, chosen=ACCURACY):
        by = Yardsticks(choosing(chosen), reporting(self.ACCURACY))
        return by, regret.extent_of(by.reporting, self.LATENCY, 0.4)

    def test_the_reference_point_and_the_area_of_the_best_front(self):
        _, extent = self.scene()
        assert extent[:3] == pytest.approx((0.5, 4.0, 0.9))
        # from latency 2 on half the height: (4 - 2) / 4 * 1/2; the best starts at the reference latency and adds 0
        assert extent.area == pytest.approx(0.25)

    def test_by_hand(self):
        by, extent = self.scene()
        rows = np.array([[0, 1, 2], [0, 2, 2], [1, 1, 1]])
        np.testing.assert_allclose(regret.hypervolume(rows, by, self.LATENCY, extent), [1.0, 0.0, 1.0])

    def test_the_front_is_chosen_by_validation(self):
        # validation prefers 0 to 1, so 1 is not on the front and its test accuracy does not count
        by, extent = self.scene(chosen=(0.8, 0.6, 0.9))
        np.testing.assert_allclose(regret.hypervolume(np.array([[0, 1]]), by, self.LATENCY, extent), [0.0])

    def test_what_does_not_run_adds_nothing(self):
        by, extent = self.scene()
        latency = np.array([1.0, np.nan, 4.0])
        np.testing.assert_allclose(regret.hypervolume(np.array([[0, 1]]), by, latency, extent), [0.0])

    @given(st.integers(0, 2**32))
    @settings(max_examples=30, deadline=None)
    def test_more_questions_never_lose_area_where_choice_and_report_agree(self, seed):
        rng = np.random.default_rng(seed)
        accuracy, latency = rng.random(12), 1 + rng.random(12)
        by = Yardsticks(choosing(accuracy), reporting(accuracy))
        extent = regret.extent_of(by.reporting, latency, 0.9)
        rows = rng.permutation(12)[None]
        areas = [float(regret.hypervolume(rows[:, :count], by, latency, extent)[0]) for count in range(1, 13)]
        assert np.diff(areas).min() > -1e-12  # rounding
        assert areas[-1] == pytest.approx(1.0)


@pytest.fixture
def table(tmp_path):
    return Table.load(write(tmp_path))


class TestScoreColumn:
    def test_a_wide_file_is_laid_along_the_table(self, table, tmp_path):
        frame = pd.DataFrame({"arch_index": [*NUMBERS, 5], "mine": [1.0, 2.0, np.inf, 4.0, 9.0], "mine_s": 0.5})
        frame.to_parquet(tmp_path / "wide.parquet")
        found = read_column(
            table, tmp_path / "wide.parquet", "m", column="mine", dataset="cifar10", required=False, seconds="mine_s"
        )
        # rows 3, 0, 284, 11 in the file; 0, 3, 11, 284 in the table; infinity is no score
        np.testing.assert_array_equal(found.values, [2.0, 1.0, 4.0, np.nan])
        assert (found.missing, found.seconds) == (1, 0.5)

    def test_a_long_file_is_averaged_over_seeds(self, table, tmp_path):
        frame = pd.DataFrame(
            {
                "student": [cell(NUMBERS[0])] * 2 + [cell(NUMBERS[1])] * 2,
                "proxy": ["a", "a", "a", "b"],
                "score": [1.0, 3.0, 5.0, 7.0],
                "seconds": [0.1, 0.3, 0.2, 9.0],
                "dataset": "cifar10",
            }
        )
        frame.to_parquet(tmp_path / "long.parquet")
        found = read_column(table, tmp_path / "long.parquet", "a", column="a", dataset="cifar100", required=False)
        np.testing.assert_array_equal(found.values, [5.0, 2.0, np.nan, np.nan])
        assert found.seconds == pytest.approx(0.2)
        assert "scored on cifar10" in found.source

    def test_an_aggregate_counts_within_its_largest_set(self, table, tmp_path):
        columns = {"proxy": "a+b", "dataset": "cifar10", "student": [cell(NUMBERS[0])] * 3 + [cell(NUMBERS[1])]}
        frame = pd.DataFrame({**columns, "score": [1.0, 3.0, 5.0, 8.0], "seconds": 0.1, "among": [None, 4, 9, 9]})
        frame.to_parquet(tmp_path / "long.parquet")
        found = read_column(table, tmp_path / "long.parquet", "a", column="a+b", dataset="cifar10", required=True)
        np.testing.assert_array_equal(found.values, [8.0, 5.0, np.nan, np.nan])
        assert found.source == "a+b of long.parquet, ranked within 9 architectures"

    def test_scores_of_other_networks_do_not_count(self, table, tmp_path):
        # The table's first rows have 100,000 parameters and 200,000.
        columns = {"proxy": "a", "dataset": "cifar10", "student": [cell(NUMBERS[0]), cell(NUMBERS[1])] * 2}
        frame = pd.DataFrame({**columns, "space": ["s:SMALL"] * 2 + ["s:SPACE"] * 2, "score": [1.0, 2.0, 3.0, 4.0]})
        frame = frame.assign(seconds=0.1, params=[5, 6, 100_000, 200_000])
        frame.to_parquet(tmp_path / "long.parquet")
        read = partial(read_column, table, name="a", column="a", dataset="cifar10", required=True)
        found = read(path=tmp_path / "long.parquet")
        np.testing.assert_array_equal(found.values, [4.0, 3.0, np.nan, np.nan])
        frame[:2].to_parquet(tmp_path / "small.parquet")
        with pytest.raises(AutoMLKDError, match="Scores of s:SMALL on cifar10 are left out"):
            read(path=tmp_path / "small.parquet")

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"column": "mein"}, "has no column 'mein'; did you mean 'mine'?"),
            ({"seconds": "time"}, "has no column 'time'"),
            ({"dataset": "cifar100", "required": True}, "has no scores about dataset 'cifar100'"),
            ({"column": "empty"}, "scores none of the table's architectures"),
        ],
    )
    def test_refusals(self, table, tmp_path, settings, said):
        frame = pd.DataFrame({"arch_index": [0, 3], "mine": 1.0, "empty": np.nan, "dataset": "cifar10"})
        frame.to_parquet(tmp_path / "wide.parquet")
        chosen = {"column": "mine", "dataset": "cifar10", "required": False, **settings}
        with pytest.raises(AutoMLKDError) as caught:
            read_column(table, tmp_path / "wide.parquet", "m", **chosen)
        assert said in str(caught.value)

    def test_what_is_no_parquet_is_refused(self, table, tmp_path):
        (tmp_path / "broken.parquet").write_bytes(b"PAR1 torn")
        for path in ("broken.parquet", "."):
            with pytest.raises(AutoMLKDError, match=r"cannot be read as scores|no scores are in|no column"):
                read_column(table, tmp_path / path, "m", column="mine", dataset="cifar10", required=False)
