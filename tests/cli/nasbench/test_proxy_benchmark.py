"""`automl-kd nasbench proxy-benchmark` on a small table and made-up scores."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from automl_kd.nasbench.table.columns import TABLE_DATASETS
from automl_kd.results.store.scores import write_scores
from tests.nasbench import table_files as files
from tests.results.synthetic import score

NUMBERS = range(30)
COMMAND = ("nasbench", "proxy-benchmark")


@pytest.fixture(autouse=True)
def no_table_elsewhere(monkeypatch):
    monkeypatch.delenv("AUTOML_KD_NASBENCH201", raising=False)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of thirty cells: accuracy falls with the number, and parameters tell nothing of it."""
    rng = np.random.default_rng(0)
    params = {f"{dataset}_params_m": list(rng.permutation(len(NUMBERS)) + 1.0) for dataset in TABLE_DATASETS}
    return files.write(tmp_path, files.columns(NUMBERS) | params)


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """A score that knows the accuracy, one that knows its opposite, and one that fails on a third."""
    made = [
        score(proxy, number, value(number), student=files.cell(number), space="a:CELLS", dataset="cifar10", params=None)
        for number in NUMBERS
        for proxy, value in {
            "knows": lambda number: -float(number),
            "errs": float,
            "fails": lambda number: None if number % 3 == 0 else -float(number),
        }.items()
    ]
    write_scores(tmp_path / "scored", made)
    return tmp_path / "scored"


def test_printed_and_written(run, tmp_path, table, scores):
    code, out, err = run(*COMMAND, "scored", "--nasbench201", "nasbench201.parquet", "--out", "found")
    assert code == 0, err
    [knows, *_] = [line for line in out.splitlines() if line.startswith("knows")]
    assert "1.000 [1.000, 1.000]" in knows
    assert "beats counting parameters" in knows
    assert all("worse than counting" in line for line in out.splitlines() if line.startswith("errs"))
    assert all(line.split()[-1] == "10" for line in out.splitlines() if line.startswith("fails"))
    assert out.splitlines()[-1] == f"written to {tmp_path}/found/panel.html"
    text = (tmp_path / "found" / "panel.md").read_text()
    assert text.startswith("<!-- made by: automl-kd nasbench proxy-benchmark scored")
    assert "NAS-Bench-201, ImageNet16-120: of 4 scores, " in text
    assert "S1" not in text


def test_s1_beside_it(run, tmp_path, table, scores):
    depths = [f"{a}{b}{c}" for a in "135" for b in "13" for c in "57"]
    accuracies = list(np.linspace(60, 70, len(depths)))
    pq.write_table(pa.table({"arch": depths, "kd_acc": accuracies, "cls_acc": accuracies[::-1]}), "s1.parquet")
    made = [score("a", place, float(place), student="-".join(one)) for place, one in enumerate(depths)]
    write_scores(tmp_path / "students", made)
    code, out, _ = run(*COMMAND, "students", "--nasbench201", str(table), "--s1", "s1.parquet", "--out", "found")
    assert code == 0
    assert "S1 on CIFAR-100, distilled: of 2 scores, none beats counting parameters on the same" in " ".join(
        out.split()
    )
    assert "NAS-Bench-201" not in out  # none of its cells was scored


def test_what_is_left_out_is_said(run, tmp_path, scores):
    rng = np.random.default_rng(0)
    params = {f"{dataset}_params_m": list(rng.permutation(len(NUMBERS)) + 1.0) for dataset in TABLE_DATASETS}
    params["cifar100_params_m"] = [math.nan] * len(NUMBERS)
    files.write(tmp_path, files.columns(NUMBERS) | params)
    small = {"space": "a:SMALL", "dataset": "cifar10", "params": 7}
    made = [score("tiny", number, float(number), student=files.cell(number), **small) for number in NUMBERS]
    ranked = {"space": "a:CELLS", "dataset": "cifar10", "params": None}
    made += [
        score("a+b", number, float(number), student=files.cell(number), among=among, **ranked)
        for among in (20, 30)
        for number in range(among)
    ]
    write_scores(tmp_path / "scored", made)
    code, out, err = run(*COMMAND, "scored", "--nasbench201", "nasbench201.parquet", "--out", "found")
    assert code == 0, err
    page = (tmp_path / "found" / "panel.md").read_text()
    for text in (" ".join(out.split()), page):
        assert "Scores of a:SMALL on cifar10 are left out: its networks are not those of the table" in text
        assert (
            "NAS-Bench-201, CIFAR-100 is left out: accuracy, parameters and FLOPs are all on record for 0 of its "
            "architectures, and 10 or more are judged."
        ) in text
        assert "a+b on cifar10: scores whose ranks were taken within 30 architectures are judged, and those" in text
        assert "within 20 are left out." in text
    assert "| tiny |" not in page
    assert "CIFAR-100: of" not in page
    only = [score("tiny", number, float(number), student=files.cell(number), **small) for number in NUMBERS]
    write_scores(tmp_path / "small", only)
    code, _, err = run(*COMMAND, "small", "--nasbench201", "nasbench201.parquet", "--out", "found")
    assert code == 2
    assert "Scores of a:SMALL on cifar10 are left out" in " ".join(err.split())


def test_refused(refused, tmp_path, table, scores):
    here = ("--nasbench201", "nasbench201.parquet", "--out", "found")
    assert "no scores are in nowhere; give a folder" in refused(*COMMAND, "nowhere", *here)
    assert "there is no NAS-Bench-201 table at" in refused(*COMMAND, "scored", "--nasbench201", "nowhere")
    assert "is not a folder" in refused(*COMMAND, "scored", *here[:2], "--out", "nasbench201.parquet")
    assert "no latency is known" in refused(*COMMAND, "scored", *here, "--device", "help_pixel2")
    assert "has no column 'arch'" in refused(*COMMAND, "scored", *here, "--s1", "nasbench201.parquet")
    write_scores(
        tmp_path / "few", [score("a", number, 1.0, student=files.cell(number), params=None) for number in range(9)]
    )
    assert "few scores too few architectures of known accuracy and size; score 10 or more" in refused(
        *COMMAND, "few", *here
    )
    write_scores(tmp_path / "other", [score("a", number, 1.0) for number in NUMBERS])
    assert "none of the architectures scored in other (of search_spaces.tiny:SPACE) has a known accuracy" in refused(
        *COMMAND, "other", *here
    )


def test_no_space_leaves_nothing(refused, table, scores, no_space):
    assert "No space left on device" in refused(*COMMAND, "scored", "--nasbench201", str(table), "--out", "found")
