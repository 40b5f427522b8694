"""A search over formulas on a made-up table: what it finds, that it continues, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from automl_kd.config import loads
from automl_kd.errors import AutoMLKDError, ConfigError
from automl_kd.experiment.context import Roots
from automl_kd.experiment.progress.events import Silent
from automl_kd.nasbench.config import KINDS, FormulaSearch, ProxyExperiment, ProxySearch
from automl_kd.nasbench.proxy_benchmark.sheets import records
from automl_kd.nasbench.proxy_search.findings import FOUND_FORMULA, Findings
from automl_kd.nasbench.proxy_search.run import run_proxy_search
from automl_kd.nasbench.proxy_search.sentences import write_sentences
from automl_kd.nasbench.table.columns import TABLE_DATASETS
from automl_kd.proxies.aggregate import parse_aggregate
from automl_kd.results.store.scores import write_scores
from tests.nasbench import table_files as files
from tests.nasbench.old_records import old_proxy_record
from tests.results.synthetic import score

NUMBERS = range(80)
WIDTH, DEPTH = np.random.default_rng(0).normal(size=(2, 80))
WORTH = WIDTH - DEPTH
"""Accuracy follows the difference of two statistics, neither of which alone tells it."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table, scores of it, and S1 with scores of its space, as the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOML_KD_NASBENCH201", raising=False)
    accuracy, rng = 60 + 5 * WORTH, np.random.default_rng(1)
    columns: dict[str, Any] = {
        f"{name}_{kind}": list(accuracy) for name in TABLE_DATASETS for kind in ("test_acc_200",)
    }
    columns |= {f"{name}_valid_acc_12": list(accuracy + rng.normal(size=80)) for name in TABLE_DATASETS}
    columns |= {
        f"{name}_{size}": list(rng.permutation(80) + 1.0) for name in TABLE_DATASETS for size in ("params_m", "flops_m")
    }
    files.write(tmp_path, files.columns(NUMBERS) | columns)
    write_scores(tmp_path / "scored", [one for n in NUMBERS for one in scored(n, files.cell(n), "a:CELLS")])
    depths = [f"{a}{b}{c}" for a in "1357" for b in "1357" for c in "13"]
    students = {"arch": depths, "kd_acc": list(60 + WORTH[:32]), "cls_acc": list(60 - WORTH[:32])}
    pq.write_table(pa.table(students), tmp_path / "s1.parquet")
    labels = ["-".join(one) for one in depths]
    write_scores(tmp_path / "students", [one for n, label in enumerate(labels) for one in scored(n, label, "a:DEPTHS")])
    return tmp_path


def scored(number: int, label: str, space: str) -> list[Any]:
    values = {"width": float(WIDTH[number]), "depth": float(DEPTH[number]), "chance": float((7 * number) % 80)}
    if space == "a:CELLS" and number < 5:
        values["chance"] = float("nan")
    return [
        score(
            proxy,
            number,
            None if np.isnan(value) else value,
            student=label,
            space=space,
            dataset="cifar10",
            params=None if space == "a:CELLS" else 1000 * number,
            macs=5,
        )
        for proxy, value in values.items()
    ]


def experiment(**changes: Any) -> ProxyExperiment:
    asked: dict[str, Any] = {
        "scores": "scored",
        "choose": "cifar10_valid_acc_12",
        "labels": 50,
        "trials": 300,
        "terms": 2,
        "members": 3,
        "searches": (FormulaSearch(sampler="evolution", seeds=2), FormulaSearch(sampler="random", seeds=1)),
    }
    return ProxyExperiment(name="formulas", space="a:CELLS", proxy=ProxySearch(**{**asked, **changes}))


def run(place: Path, asked: ProxyExperiment, out: str = "results") -> tuple[Path, Findings]:
    roots = Roots(results=place / out, data=place)
    found, written = run_proxy_search(asked, roots, Silent(), path=place, command="automl-kd search x.toml")
    assert all(path.is_file() for path in written)
    return roots.results / asked.name, found


def tried(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "formulas.parquet").drop(columns="seconds")


def rows_of(found: Findings, title: str = FOUND_FORMULA) -> dict[str, dict[str, Any]]:
    """What was judged of one ranking, by target."""
    return {row["target"]: row for row in records(found.judged) if row["title"].startswith(title)}


def test_what_is_found_and_reported(place):
    folder, found = run(place, experiment(compare_labels=(20,), s1="s1.parquet", s1_scores="students"))
    ours = rows_of(found)
    # Neither statistic is worth more than about a half alone; their difference tells the accuracy.
    assert ours["NAS-Bench-201, CIFAR-100"]["kendall"] > 0.8
    distilled, alone = ours["S1 on CIFAR-100, distilled"], ours["S1 on CIFAR-100, without a teacher"]
    assert distilled["kendall"] == -alone["kendall"] > 0.8
    assert [row["tuned"] for row in ours.values()] == [True, False, False, False, False]
    formula = parse_aggregate(found.formula)
    assert formula is not None
    assert {"width", "depth"} <= set(formula.members)
    assert max(row["kendall"] for row in rows_of(found, "best single").values()) < 0.7
    said = write_sentences(found)
    assert "chosen on 50 labels of cifar10; it reaches 0.76 on all three" in said[1]
    text, page = ((folder / f"leaderboard.{kind}").read_text() for kind in ("md", "html"))
    assert all(sentence in text for sentence in said)
    assert "0.750 / 0.753 / 0.743" in text
    assert "| 20 |" in text
    assert page.count("<svg") == 3
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.slow
def test_the_same_seed_finds_the_same_and_no_file_is_made_twice(place):
    folder, _ = run(place, experiment())
    other, _ = run(place, experiment(), out="elsewhere")
    pd.testing.assert_frame_equal(tried(folder), tried(other))
    made = sorted((folder / "formulas").iterdir())
    assert len(made) == 3
    before = [path.stat().st_mtime_ns for path in made]
    made[0].unlink()
    run(place, experiment())
    assert [path.stat().st_mtime_ns for path in made[1:]] == before[1:]
    pd.testing.assert_frame_equal(tried(folder), tried(other))


def test_a_folder_that_an_earlier_release_began_goes_on(place):
    asked = experiment(trials=20, searches=(FormulaSearch(sampler="random", seeds=1),))
    folder, _ = run(place, asked)
    [made] = (folder / "formulas").iterdir()
    before, record = made.stat().st_mtime_ns, json.loads((folder / "experiment.json").read_text())
    assert set(record) == {"name", "space", "seed", "proxy"}
    (folder / "experiment.json").write_text(json.dumps(old_proxy_record()))
    run(place, asked)
    assert [path.stat().st_mtime_ns for path in (folder / "formulas").iterdir()] == [before]
    assert json.loads((folder / "experiment.json").read_text()) == record


@pytest.mark.slow
def test_searches_see_the_labels_only(place):
    folder, _ = run(place, experiment())
    # Test accuracies turned round: the report changes, the searches do not.
    table = pq.read_table(place / "nasbench201.parquet")
    for name in (f"{dataset}_test_acc_200" for dataset in TABLE_DATASETS):
        table = table.set_column(table.column_names.index(name), name, pa.array(60 - 5 * WORTH))
    pq.write_table(table, place / "nasbench201.parquet")
    other, found = run(place, experiment(), out="elsewhere")
    pd.testing.assert_frame_equal(tried(folder), tried(other))
    assert max(row["kendall"] for row in rows_of(found).values()) < -0.8


def test_memory_and_batches_change_who_knows_what_but_not_how_many_are_tried(place):
    search = FormulaSearch(sampler="tpe", seeds=1, batch=7, memory=10, trials=25)
    folder, _ = run(place, experiment(searches=(search,)))
    assert tried(folder)["index"].tolist() == list(range(25))
    assert (tried(folder)["members"] <= 3).all()


@pytest.mark.slow
def test_a_penalty_shortens(place):
    # A second member adds less than a half to Kendall.
    folder, found = run(place, experiment(penalty=0.6))
    rows = tried(folder)
    np.testing.assert_allclose(rows["objective"], rows["kendall"] - 0.6 * rows["members"])
    formula = parse_aggregate(found.formula)
    assert formula is not None
    assert len(formula.members) == 1


@pytest.mark.slow
def test_formulas_of_one_statistic_are_found_among_long_ones(place):
    folder, _ = run(place, experiment(members=1, terms=20, trials=20))
    assert set(tried(folder)["members"]) == {1}


def test_a_limit_that_no_proposal_keeps_is_a_sentence(place, monkeypatch):
    monkeypatch.setattr("automl_kd.nasbench.proxy_search.run.is_short", lambda point, members: False)
    with pytest.raises(ConfigError, match="as few statistics as proxy"):
        run(place, experiment())


def test_failures_rank_last_and_are_counted(place):
    # Chance failed on five of eighty, which are among the labelled ones or not; none is left out.
    _, found = run(place, experiment(statistics=("chance", "params")))
    assert {row["architectures"] for row in records(found.judged)} == {80}
    assert {row["failed"] for row in records(found.members) if row["statistic"] == "chance"} <= {5}
    assert {row["failed"] for row in records(found.judged) if "chance" in row["formula"]} == {5}


def test_where_a_statistic_was_not_scored_the_formula_is_not_judged(place):
    numbers = range(10)
    made = [one for n in numbers for one in scored(n, f"1-{n}-1", "a:DEPTHS") if one.proxy != "depth"]
    write_scores(place / "few", made)
    columns = {"arch": [f"1{n}1" for n in numbers], "kd_acc": [60.0 + n for n in numbers], "cls_acc": [60.0] * 10}
    pq.write_table(pa.table(columns), place / "other.parquet")
    _, found = run(place, experiment(s1="other.parquet", s1_scores="few"))
    assert any("where there are no scores of depth" in sentence for sentence in write_sentences(found))
    assert not any(target.startswith("S1") for target in rows_of(found))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scores": "nowhere"}, "proxy.scores is nowhere, which is neither in"),
        ({"s1": "s1.parquet", "s1_scores": "nowhere"}, "proxy.s1_scores is nowhere, which is neither in"),
        ({"scores": "students"}, "students scores no architecture of"),
        ({"statistics": ("width", "dept")}, "no scores of 'dept' are there; did you mean 'depth'"),
        ({"without": ("zen",)}, "no scores of 'zen' are there"),
        ({"statistics": ("width",)}, "proxy leaves 1 statistics to compose, and two or more were wanted"),
        ({"labels": 81}, "proxy asks for 81 labels, and 80 architectures are in the table"),
        ({"choose": "cifar10_test_acc_200"}, "is a test accuracy, for reports only"),
        ({"choose": "cifar10_valid_acc_90"}, "has no column 'cifar10_valid_acc_90'"),
        ({"searches": (FormulaSearch(sampler="evolve"),)}, "no sampler is called 'evolve'"),
        (
            {"searches": (FormulaSearch(sampler="random", options={"a": 1}),)},
            "sampler 'random' has no option 'a'",
        ),
    ],
)
def test_refused_before_anything_is_written(place, changes, said):
    with pytest.raises(AutoMLKDError) as caught:
        run(place, experiment(**changes))
    assert said in str(caught.value)
    assert not (place / "results").exists()


def test_no_table_is_a_sentence(place):
    with pytest.raises(ConfigError, match="there is no NAS-Bench-201 table at"):
        run_proxy_search(experiment(), Roots(results=place, data=place), Silent(), path=place / "students")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scores = 'a'", "scores need choose"),
        ("scores = 'a'\nchoose = 'b'", "scores need searches"),
        ("labels = 3", "labels and compare_labels must be 10 or more"),
        ("terms = 0", "terms must lie in 1 to 20"),
        ("penalty = 1.0", "penalty must lie in 0 to 1"),
        ("s1 = 'a'", "s1 and s1_scores go together"),
        ("lables = 100", "unknown key 'proxy.lables'; did you mean 'labels'"),
        ("[[proxy.searches]]\nsampler = 'tpe'\n[[proxy.searches]]\nsampler = 'tpe'", "must have distinct names"),
        ("[[proxy.searches]]\nsampler = 'tpe'\nbatch = 0", "seeds and batch must be 1 or more"),
    ],
)
def test_what_no_experiment_says(text, said):
    with pytest.raises(ConfigError) as caught:
        loads(f"name = 'a'\nspace = 'a:B'\n[proxy]\n{text}", kinds=KINDS)
    assert said in str(caught.value)


def test_the_record_is_the_resolved_experiment(place):
    folder, _ = run(place, experiment())
    assert json.loads((folder / "experiment.json").read_text())["proxy"]["labels"] == 50
