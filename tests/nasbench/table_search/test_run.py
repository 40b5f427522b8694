"""Searches of a table from the experiment file to the report, on a made-up table of the whole space."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from automl_kd.errors import AutoMLKDError
from automl_kd.experiment.context import Roots
from automl_kd.experiment.progress.events import Silent
from automl_kd.nasbench.config import TrainingFree
from automl_kd.nasbench.table.score_column import ScoreColumn
from automl_kd.nasbench.table_search.page import write_tabular_report
from automl_kd.nasbench.table_search.preparation import open_table
from automl_kd.nasbench.table_search.record import read_tabular_record
from automl_kd.nasbench.table_search.run import hour_marks, query_marks, run_table
from automl_kd.nasbench.table_search.training_free import best_by_score, by_score, by_training, time_to_target
from tests.nasbench.made_up_table import TEXT, make_table, read_table_text
from tests.nasbench.old_records import old_table_record

OLD_TABLE = """
seed = 3
[table]
seeds = 2
trials = 10
compare = [5, 10]
training_free = { trials = 60 }
tasks = [{ name = "cifar10", choose = "cifar10_valid_acc_12", report = "cifar10_test_acc_200", hours = [0.1] }]
runs = [{ sampler = "random" }, { sampler = "random", proxy_filter = "params" }]
"""
"""What the record of an earlier release says."""


@pytest.fixture(scope="module")
def nasbench201(tmp_path_factory):
    return make_table(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="module")
def task(nasbench201, tmp_path_factory):
    return open_table(read_table_text(), tmp_path_factory.mktemp("none"), nasbench201).tasks[0]


def carried_out(folder, nasbench201, *overrides):
    roots = Roots(results=folder, data=folder)
    return run_table(read_table_text(TEXT, *overrides), roots, Silent(), path=nasbench201)


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.parquet")}


@pytest.fixture(scope="module")
def record(tmp_path_factory, nasbench201):
    return read_tabular_record(carried_out(tmp_path_factory.mktemp("results"), nasbench201))


class TestRecord:
    def test_every_search_has_every_seed_at_every_mark(self, record):
        counts = record.searches.groupby(["task", "search", "axis", "at"], observed=True)["seed"].nunique()
        assert (counts == 6).all()
        assert list(record.searches["search"].unique()) == ["random", "random, screened by good", "asha"]
        # a task without a short training has no ASHA
        searched = record.searches.groupby("task", observed=True)["search"].unique()
        assert list(searched["cifar100"]) == ["random", "random, screened by good"]

    def test_the_incumbent_is_chosen_by_one_column_and_reported_on_another(self, record, nasbench201):
        table = pd.read_parquet(nasbench201 / "nasbench201.parquet")
        rows = record.searches[(record.searches["task"] == "cifar10") & (record.searches["search"] == "random")]
        held = table.iloc[rows["architecture"]]
        known = (rows["architecture"] >= 0).to_numpy()
        chosen = held["cifar10_trainhalf_test_acc_200_s888"].to_numpy() / 100
        tested = held["cifar10_test_acc_200"].to_numpy() / 100
        np.testing.assert_allclose(rows["val_accuracy"][known], chosen[known])
        np.testing.assert_allclose(rows["test_accuracy"][known], tested[known])
        best = table["cifar10_test_acc_200"].max() / 100
        np.testing.assert_allclose(rows["regret"][known], best - tested[known])
        queries = rows[rows["axis"] == "queries"].sort_values(["seed", "at"])
        assert (queries.groupby("seed", observed=True)["val_accuracy"].diff().dropna() >= 0).all()

    def test_the_costs_of_a_search_by_score_add_up(self, record):
        ours = record.training_free[
            (record.training_free["task"] == "cifar10") & (record.training_free["search"] == "good")
        ]
        # half a second a score; 200 epochs of 6 / 12 s each, three times
        np.testing.assert_allclose(ours["score_seconds"], 0.5 * ours["scored"])
        np.testing.assert_allclose(ours["train_seconds"], 300.0)
        assert (ours["scored"] <= 60).all()

    def test_hypervolumes_are_shares_and_grow(self, record):
        assert record.fronts["hypervolume"].between(0, 1.3).all()
        assert set(record.fronts["search"]) == {"random", "nsga2"}

    def test_facts_say_what_was_chosen_by(self, record):
        task = record.facts["tasks"][0]
        assert "Chosen by cifar10_trainhalf_test_acc_200_s888: test accuracy" in task["statement"]
        assert task["scores"][0]["seconds"] == 0.5
        assert record.facts["tasks"][1]["left_out"] == ["asha"]
        assert set(task["reached"]) == {"good", "params", "random"}


class TestSittings:
    def test_again_nothing_is_searched_and_a_lost_file_is_made_alike(self, record, nasbench201):
        before = tree(record.folder)
        stamps = {path: (record.folder / path).stat().st_mtime_ns for path in before}
        lost = sorted(before)[0]
        (record.folder / lost).unlink()
        carried_out(record.folder.parent, nasbench201)
        assert tree(record.folder) == before
        again = {path for path in before if (record.folder / path).stat().st_mtime_ns != stamps[path]}
        assert again == {lost}

    def test_another_experiment_is_refused(self, record, nasbench201):
        with pytest.raises(AutoMLKDError, match=r"its table.seeds is 6, here it is 7"):
            carried_out(record.folder.parent, nasbench201, "table.seeds=7")

    def test_a_folder_that_an_earlier_release_began_goes_on(self, nasbench201, tmp_path):
        text = TEXT[: TEXT.index("[table]")] + OLD_TABLE
        roots = Roots(results=tmp_path, data=tmp_path)
        folder = run_table(read_table_text(text), roots, Silent(), path=nasbench201)
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
        record = json.loads((folder / "experiment.json").read_text())
        assert set(record) == {"name", "space", "seed", "table"}
        (folder / "experiment.json").write_text(json.dumps(old_table_record()))
        run_table(read_table_text(text), roots, Silent(), path=nasbench201)
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} == before
        assert json.loads((folder / "experiment.json").read_text()) == record

    def test_a_part_that_is_missing_is_named(self, record, tmp_path):
        (tmp_path / "facts.json").write_text(json.dumps(record.facts))
        with pytest.raises(AutoMLKDError, match=r"is missing; run the search again"):
            read_tabular_record(tmp_path)


class TestReport:
    def test_both_files_say_the_same_and_need_no_network(self, record, tmp_path):
        page, text = write_tabular_report(record, tmp_path, "automl-kd search mine.toml")
        html, markdown = page.read_text(), text.read_text()
        for words in ("Regret on test", "random, screened by good", "help_phone", "automl-kd search mine.toml"):
            assert words in html
        assert "| random, screened by good |" in markdown
        assert "cifar10_trainhalf_test_acc_200_s888" in markdown
        assert "<svg" in html
        assert not any(word in html for word in ('src="', "url(http", "<script", ">nan", " nan "))


@pytest.mark.parametrize(
    ("compare", "heads", "mark"),
    [
        ("compare = [30, 100, 300]", ["after 10", "mean after 10"], 10),  # the default
        ("compare = [5, 30]", ["after 5", "mean after 5"], 5),
    ],
)
def test_marks_that_no_search_comes_to_are_left_out(nasbench201, tmp_path, compare, heads, mark):
    text = OLD_TABLE.replace("compare = [5, 10]", compare)
    roots = Roots(results=tmp_path, data=tmp_path)
    folder = run_table(read_table_text(TEXT[: TEXT.index("[table]")] + text), roots, Silent(), path=nasbench201)
    record = read_tabular_record(folder)
    _, markdown = write_tabular_report(record, tmp_path, "")
    text = markdown.read_text()
    assert f"| search | {' | '.join(heads)} | at 0.1 h |" in text
    assert f"cifar10: after {mark} trainings the lowest mean regret" in text
    assert f"the mean regret after {mark} trainings is" in text


class TestUntrained:
    def test_the_best_are_distinct_and_in_order(self):
        score = ScoreColumn("s", np.array([0.1, 0.9, 0.5, 0.9]), 0.0, "")
        rows = np.array([[2, 1, 1, 0, 3], [0, 0, 2, 2, 0]])
        np.testing.assert_array_equal(best_by_score(rows, score, 2), [[1, 3], [2, 0]])

    def test_a_perfect_score_is_led_to_the_top(self, task):
        settings = TrainingFree(trials=300, top=1)
        perfect = ScoreColumn("perfect", task.by.choosing.values, 0.1, "")
        found = by_score(task, settings, range(4), perfect)
        random = by_score(task, settings, range(4), None)
        assert found["val_accuracy"].min() > random["val_accuracy"].max()
        assert random["scored"].sum() == 0

    def test_what_has_no_score_is_worst(self, task):
        values = task.by.choosing.values.copy()
        values[: len(values) // 2] = np.nan
        found = by_score(task, TrainingFree(trials=100, top=5), range(4), ScoreColumn("half", values, 0.1, ""))
        assert (found["architecture"] >= len(values) // 2).all()

    def test_a_score_is_reached_when_half_of_the_trained_are_as_good(self, task):
        settings, seeds = TrainingFree(trials=100), range(5)
        trained, history = by_training(task, settings, seeds)
        found = pd.DataFrame({"search": ["", "easy", "never"], "regret": [0.0, 1.0, -1.0]})
        times = time_to_target(task, settings, seeds, found)
        # whatever is asked first has a regret below one; nothing is better than the best
        assert times["easy"] == np.median(history.seconds[:, 0])
        assert times["never"] is None
        np.testing.assert_allclose(trained["train_seconds"], history.seconds[:, -1])


def test_marks_contain_what_is_compared():
    assert {1, 7, 50} <= set(query_marks(50, (7, 80)))
    assert max(query_marks(50, (7, 80))) == 50
    hours = hour_marks((1.0, 4.0))
    assert {1.0, 4.0} <= set(hours)
    assert hours[-1] == 4.0


@pytest.mark.slow
def test_on_the_real_table_evolution_beats_random_search(shared_data, tmp_path):
    text = TEXT.replace("seeds = 6", "seeds = 100").replace(
        "trials = 20\ncompare = [5, 20]", "trials = 200\ncompare = [200]"
    )
    text = (
        text.replace('"help_phone"', '"help_pixel2"').replace(
            'file = "scores.parquet"\nseconds = "time"',
            ('file = "nasbench201_zero_cost.parquet"\ncolumn = "freerea_logsynflow"'),
        )
        + '\n[[table.runs]]\nsampler = "evolution"\n'
    )
    roots = Roots(results=tmp_path, data=tmp_path)
    record = read_tabular_record(run_table(read_table_text(text), roots, Silent(), path=shared_data))
    last = record.searches[(record.searches["at"] == 200) & (record.searches["task"] == "cifar10")]
    means = last.groupby("search", observed=True)["regret"].mean()
    # published medians after 200 to 300 trainings are around a tenth of a point for evolution, half for random search
    assert means["evolution"] < 0.003 < means["random"] < 0.009
