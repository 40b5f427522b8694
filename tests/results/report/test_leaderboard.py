"""Three students, three seeds: ranks that can be done in the head."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.results import ResultTable, Row
from automl_kd.results.report.leaderboard import (
    BY,
    leaderboard_markdown,
    list_failures,
    pareto_rows,
    rank_results,
    to_sheet,
)
from automl_kd.results.statistics.interval import estimate_mean
from automl_kd.results.store import parquet
from automl_kd.results.store.row import ROW_SCHEMA
from tests.results.synthetic import row

# Validation ranks A, B, C; test would rank C, B, A.
VALIDATION = {"A": (0.91, 0.92, 0.93), "B": (0.81, 0.82, 0.83), "C": (0.71, 0.72, 0.73)}
TEST = {"A": (0.60, 0.60, 0.60), "B": (0.70, 0.71, 0.72), "C": (0.8, 0.8, 0.8)}


def three_by_three() -> list[Row]:
    return [
        row(
            key=f"{name}{seed}",
            seed=seed,
            architecture_id=name * 12,
            student=f"student {name}",
            val_accuracy=VALIDATION[name][seed],
            test_accuracy=TEST[name][seed],
            seconds=10.0 * (seed + 1),
        )
        for name in "BCA"
        for seed in range(3)
    ]


def frame(folder: Path, rows: list[Row]) -> pd.DataFrame:
    table = ResultTable(folder)
    for one in rows:
        table.append(one)
    return table.read()


def test_validation_ranks_and_test_is_reported(tmp_path):
    board = rank_results(frame(tmp_path, three_by_three()))
    assert board["student"].tolist() == ["student A", "student B", "student C"]
    assert board["rank"].tolist() == [1, 2, 3]
    assert board["mean"].tolist() == pytest.approx([0.60, 0.71, 0.80])
    assert board["val_mean"].tolist() == pytest.approx([0.92, 0.82, 0.72])
    assert board["seeds"].tolist() == [3, 3, 3]
    assert not board["tie"].any()
    # B on test: 0.70, 0.71, 0.72; s = 0.01; half width 0.01 * 4.3027 / sqrt 3 = 0.024841; seconds 10, 20, 30
    assert board["std"][1] == pytest.approx(0.01)
    assert board["half_width"][1] == pytest.approx(0.024841, abs=1e-6)
    assert board["seconds"][1] == 20.0


def test_equal_means_share_a_rank_and_are_marked(tmp_path):
    # A and B both average 0.82 on validation, in another order; C follows on rank 3.
    rows = frame(tmp_path, three_by_three())
    rows.loc[rows["student"] == "student A", "val_accuracy"] = [0.83, 0.81, 0.82]
    board = rank_results(rows)
    assert board["rank"].tolist() == [1, 1, 3]
    assert board["tie"].tolist() == [True, True, False]
    assert [cells[0] for cells in to_sheet(board).rows] == ["1 =", "1 =", "3"]


def test_the_order_does_not_depend_on_that_of_the_rows(tmp_path):
    rows = frame(tmp_path, three_by_three())
    rows["val_accuracy"] = 0.5
    for seed in range(3):
        pd.testing.assert_frame_equal(
            rank_results(rows), rank_results(rows.iloc[np.random.default_rng(seed).permutation(len(rows))])
        )


def test_failed_and_stopped_trials_are_counted_not_averaged(tmp_path):
    lost = {"architecture_id": "A" * 12, "student": "student A", "val_accuracy": 0.1, "test_accuracy": 0.1}
    extra = [row(key="A3", seed=3, status="failed", **lost), row(key="A4", seed=4, status="stopped", **lost)]
    never = row(key="D0", architecture_id="D" * 12, student="student D", status="failed")
    board = rank_results(frame(tmp_path, [*three_by_three(), *extra, never]))
    assert board["student"].tolist() == ["student A", "student B", "student C"]
    assert board[["seeds", "failed", "stopped"]].to_numpy().tolist()[0] == [3, 1, 1]
    assert board["val_mean"][0] == pytest.approx(0.92)


def test_other_epochs_data_or_options_make_another_entry(tmp_path):
    changes: list[dict[str, Any]] = [
        {},
        {"epochs": 20},
        {"options_json": "{}"},
        {"spec_json": '{"data": {"train_images": 50}, "seed": 0}'},
    ]
    rows = [row(key=str(place), **change) for place, change in enumerate(changes)]
    board = rank_results(frame(tmp_path, rows))
    assert len(board) == 4
    assert "config" in [column.name for column in to_sheet(board).columns]


def test_what_students_began_with_makes_another_entry_and_is_said(tmp_path):
    rows = [row(key=str(place), init=init) for place, init in enumerate((None, "teacher", "net.pt"))]
    board = rank_results(frame(tmp_path, rows))
    assert len(board) == 3
    sheet = to_sheet(board)
    methods = {line[[column.name for column in sheet.columns].index("method")] for line in sheet.rows}
    plain = min(methods, key=len)
    assert methods == {plain, f"{plain} from the teacher's weights", f"{plain} from net.pt"}


def test_runs_and_datasets_are_ranked_apart(tmp_path):
    rows = [
        row(key="1", dataset="digits", val_accuracy=0.5),
        row(key="2", dataset="cifar10", val_accuracy=0.4),
        row(key="3", trial_kind="final", role="default-kd", val_accuracy=0.3),
    ]
    assert rank_results(frame(tmp_path, rows))["rank"].tolist() == [1, 1, 1]


def test_one_trial_in_two_roles_counts_once(tmp_path):
    roles = [row(trial_kind="final", role=role, key="same") for role in ("default-kd", "found-method")]
    board = rank_results(frame(tmp_path, roles))
    assert board["seeds"].tolist() == [1]
    assert board["role"].tolist() == ["default-kd, found-method"]
    assert math.isnan(board["half_width"][0])


def test_by_and_metric_can_be_chosen(tmp_path):
    rows = frame(tmp_path, three_by_three())
    board = rank_results(rows, by=("method",), metric="test_accuracy_best")
    assert board["seeds"].tolist() == [9]
    assert board[["mean", "val_mean"]].to_numpy().tolist() == [pytest.approx([0.89, 0.91])]


def plainly(rows: pd.DataFrame) -> dict[tuple[Any, ...], list[Any]]:
    """Each entry's numbers, taken of its rows alone."""
    found = {}
    for name, group in rows.groupby(list(BY), dropna=False, observed=True):
        complete = group[group["status"] == "complete"]
        trials = complete.drop_duplicates("key")
        reported = estimate_mean(trials["test_accuracy"])
        if len(trials):
            found[named(name)] = [
                *(", ".join(sorted(set(complete["role"]))), len(trials), trials["val_accuracy"].mean()),
                *(reported.mean, reported.std, reported.half_width, trials["seconds"].mean()),
                *(next(iter(trials["params"].dropna()), None),),
                *(int((group["status"] == status).sum()) for status in ("stopped", "failed")),
            ]
    return found


def named(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(None if pd.isna(value) else value for value in values)


def drawn(rng: np.random.Generator, number: int) -> Row:
    """A trial of one of a dozen entries, with whatever may be missing."""

    def perhaps(value: Any) -> Any:
        return None if rng.random() < 0.2 else value

    final = bool(rng.random() < 0.5)
    name = f"{rng.integers(3):012x}"
    return row(
        key=f"k{rng.integers(number, number + 3)}",
        trial_kind="final" if final else "search",
        role=str(rng.choice(["default-kd", "found-method"])) if final else "search",
        status=str(rng.choice(["complete", "complete", "complete", "stopped", "failed"])),
        architecture_id=name,
        student=name,
        teacher=perhaps("resnet20"),
        val_accuracy=perhaps(float(rng.random())),
        test_accuracy=perhaps(float(rng.random())),
        params=perhaps(int(rng.integers(9))),
        seconds=perhaps(float(rng.random())),
    )


def test_entries_measured_together_are_those_measured_alone_bit_for_bit():
    rng = np.random.default_rng(0)
    records = [
        vars(drawn(rng, number)) | {"config_hash": "abc", "last_epoch": 1.0, "metric": "accuracy"}
        for number in range(300)
    ]
    rows = parquet.to_frame(parquet.to_table(records, ROW_SCHEMA))
    wanted = plainly(rows)
    board = rank_results(rows)
    assert len(board) == len(wanted) > 8
    columns = ["role", "seeds", "val_mean", "mean", "std", "half_width", "seconds", "params", "stopped", "failed"]
    for entry in board.to_dict("records"):
        ours = [entry[name] for name in columns]
        theirs = wanted[named(entry[name] for name in BY)]
        assert all(a == b or (pd.isna(a) and pd.isna(b)) for a, b in zip(ours, theirs, strict=True)), (ours, theirs)


def test_no_rows_make_an_empty_board(tmp_path):
    board = rank_results(ResultTable(tmp_path).read())
    assert board.empty
    assert set(BY) <= set(board.columns)


def test_front_by_hand():
    # b costs more than a and is no better; c is best, d equals a.
    rows = pd.DataFrame({"acc": [0.8, 0.8, 0.9, 0.8, None], "params": [10, 20, 30, 10, 1]}, index=list("abcde"))
    assert pareto_rows(rows, ["acc"], ["params"]).index.tolist() == ["a", "c", "d"]
    assert pareto_rows(rows, ["acc"], []).index.tolist() == ["c"]


points = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@given(points)
def test_front_by_definition(values):
    rows = pd.DataFrame(values, columns=["gain", "cost"])
    kept = set(pareto_rows(rows, ["gain"], ["cost"]).index)
    for place, (gain, cost) in enumerate(values):
        beaten = any((g >= gain and c <= cost) and (g > gain or c < cost) for g, c in values)
        assert (place not in kept) == beaten


def test_failures_are_one_line_each(tmp_path):
    rows = [
        row(key="1", status="failed", proposal=4, epochs_done=1, error="the loss is nan;\n  lower lr"),
        row(key="2", status="failed", proposal=None, epochs_done=None),
        row(key="3", status="stopped"),
        row(key="4", status="failed", proposal=5, epochs_done=1, error="CUDA out of memory", failure_kind="memory"),
    ]
    assert list_failures(frame(tmp_path, rows)) == [
        "search trial 4 (depth=1, kd, seed 0, key 1) after 1 epoch: the loss is nan; lower lr",
        "search trial 5 (depth=1, kd, seed 0, key 4) after 1 epoch: out of memory, CUDA out of memory",
        "search (depth=1, kd, seed 0, key 2): no reason was recorded",
    ]


def test_markdown_begins_with_its_command_and_escapes_cells(tmp_path):
    board = rank_results(frame(tmp_path, [row(student="a|b <i>")]))
    lines = leaderboard_markdown(board, "automl-kd leaderboard results --out x").splitlines()
    assert lines[0] == "<!-- made by: automl-kd leaderboard results - -out x -->"
    assert r"a\|b &lt;i>" in lines[5]
    assert "90.00 | 88.00" in lines[5]
    assert "validation" in lines[-1]


def test_what_is_measured_otherwise_is_ranked_by_itself(tmp_path):
    same = {"student": "student A", "architecture_id": "A" * 12}
    rows = [
        row(key="accuracy", val_accuracy=0.9, metric="accuracy", **same),
        row(key="earlier", val_accuracy=0.8, **same, options_json="{}"),  # accuracy too, of an earlier version
        row(key="f1", val_accuracy=0.6, metric="macro_f1", **same),
    ]
    board = rank_results(frame(tmp_path, rows))
    assert board[["metric", "rank", "val_mean"]].to_numpy().tolist() == [
        ["accuracy", 1, 0.9],
        ["accuracy", 2, 0.8],
        ["macro_f1", 1, 0.6],
    ]
    text = leaderboard_markdown(board)
    assert "| metric |" in text
    assert "| macro F1 |" in text
    assert "| metric |" not in leaderboard_markdown(rank_results(frame(tmp_path / "one", rows[:2])))
