"""`automl-kd nasbench proxy-search` on a small table and made-up scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from automl_kd.nasbench.table.columns import TABLE_DATASETS
from automl_kd.results.store.scores import write_scores
from tests.nasbench import table_files as files
from tests.results.synthetic import score

NUMBERS = range(30)
COMMAND = ("nasbench", "proxy-search")
EXPERIMENT = """
name = "formulas"
space = "search_spaces.nasbench201:SPACE"

[proxy]
scores = "scored"
choose = "cifar10_valid_acc_12"
labels = 20
trials = 20
terms = 2

[[proxy.searches]]
sampler = "random"
seeds = 1
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of thirty cells whose accuracy falls with the number, scores that rise with it, and an experiment."""
    monkeypatch.delenv("AUTOML_KD_NASBENCH201", raising=False)
    rng = np.random.default_rng(0)
    columns = {f"{dataset}_params_m": list(rng.permutation(len(NUMBERS)) + 1.0) for dataset in TABLE_DATASETS}
    falling = {f"{dataset}_valid_acc_12": [80.0 - number for number in NUMBERS] for dataset in TABLE_DATASETS}
    files.write(tmp_path, files.columns(NUMBERS) | columns | falling)
    made = [
        score("errs", number, float(number), student=files.cell(number), dataset="cifar10", params=None)
        for number in NUMBERS
    ]
    write_scores(tmp_path / "scored", made)
    (tmp_path / "formulas.toml").write_text(EXPERIMENT)


def test_found_printed_and_written(run, tmp_path):
    code, out, err = run(*COMMAND, "formulas.toml", "--nasbench201", str(tmp_path), "--out", "found")
    assert code == 0, err
    # Downwards the score knows the accuracy, and twenty draws from so few statistics find that.
    assert "Kendall CIFAR-10 1.000, CIFAR-100 1.000, ImageNet16-120 1.000 over 30 architectures" in " ".join(
        out.split()
    )
    assert "found formula" in out
    assert out.splitlines()[-1] == f"written to {tmp_path}/found/formulas/leaderboard.html"
    text = (tmp_path / "found" / "formulas" / "leaderboard.md").read_text()
    assert text.startswith("<!-- made by: automl-kd nasbench proxy-search formulas.toml")


def test_refused(refused, tmp_path):
    table = ("--nasbench201", str(tmp_path))
    assert "there is no NAS-Bench-201 table at" in refused(*COMMAND, "formulas.toml", "--nasbench201", "nowhere")
    assert "proxy.scores is nowhere, which is neither in" in refused(
        *COMMAND, "formulas.toml", *table, "--set", "proxy.scores=nowhere"
    )
    assert "proxy asks for 31 labels, and 30 architectures are" in refused(
        *COMMAND, "formulas.toml", *table, "--set", "proxy.labels=31"
    )
