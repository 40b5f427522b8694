"""The panel for people: titles, cells and sentences by hand, and a page that needs no network."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from automl_kd.nasbench.proxy_benchmark.benchmark import (
    BEATS,
    NO_VALUE,
    NOT_SHOWN,
    THE_BASELINE,
    WORSE,
    Target,
    judge_entries,
)
from automl_kd.nasbench.proxy_benchmark.page import write_benchmark
from automl_kd.nasbench.proxy_benchmark.plots import front, plot_cost, running_median
from automl_kd.nasbench.proxy_benchmark.published import published_sheet
from automl_kd.nasbench.proxy_benchmark.scores import ProxyScores
from automl_kd.nasbench.proxy_benchmark.sheets import (
    add_titles,
    benchmark_markdown,
    benchmark_sheet,
    budget_regret_sheet,
    scoring_effort_sheet,
    target_sentence,
)
from automl_kd.results.sheet import without_html

ROW = {
    "target": "toy",
    "space": "spaces:ONE",
    "proxy": "a",
    "dataset": "cifar10",
    "teacher": "",
    "repeats": 1,
    "images": 64,
    "among": 0,
    "accuracy": "cifar10_test_acc_200",
    "seeds": 3,
    "architectures": 15625,
    "failed": 7,
    "seconds": 0.0123,
    "published_kendall": np.nan,
    "published_spearman": 0.75,
    "kendall": 0.63,
    "kendall_low": 0.62,
    "kendall_high": 0.64,
    "kendall_seed_std": 0.0042,
    "spearman": 0.8,
    "spearman_low": 0.79,
    "spearman_high": 0.81,
    "spearman_seed_std": np.nan,
    "seed_architectures": 1000,
    "partial_spearman": 0.5,
    "matched_kendall": np.nan,
    "matched_bins": 0,
    "over_params": 0.05,
    "over_params_low": 0.04,
    "over_params_high": 0.06,
    "verdict": BEATS,
}


def frame(*changes: dict[str, object]) -> pd.DataFrame:
    return add_titles(pd.DataFrame([ROW | change for change in changes]))


def test_cells_by_hand():
    [line] = benchmark_sheet(frame({})).rows
    assert line == (
        "a",
        "0.630 ± 0.004 [0.620, 0.640]",
        "0.800 [0.790, 0.810]",
        "+0.050 [+0.040, +0.060]",
        "beats counting parameters",
        "0.500",
        "–",
        "7",
        "– / 0.750",
    )
    assert scoring_effort_sheet(frame({})).rows == (
        ("a", "0.012", "15,625", "3", "1,000", "64", "cifar10", "spaces:ONE"),
    )
    none = {"published_spearman": np.nan, "seconds": np.nan, "seed_architectures": 0, "proxy": "params"}
    none |= {"images": 0, "space": ""}
    [line] = benchmark_sheet(frame(none)).rows
    assert (line[3], line[-1]) == ("–", "–")
    assert scoring_effort_sheet(frame(none)).rows == (("params", "–", "15,625", "3", "–", "–", "cifar10", "–"),)


def test_titles_tell_apart_what_a_target_has_several_times():
    shown = frame({}, {"dataset": "digits"}, {"proxy": "b"}, {"target": "other"}, {"target": "other", "proxy": "b"})
    assert shown["title"].tolist() == ["a (on cifar10)", "a (on digits)", "b", "a (on cifar10)", "b"]
    spaces = frame({}, {"space": "spaces:TWO", "teacher": "resnet56"})
    assert spaces["title"].tolist() == ["a (ONE)", "a (TWO, teacher resnet56)"]


def test_sentence_by_hand():
    yardstick = {"proxy": "params", "kendall": 0.578, "verdict": THE_BASELINE}
    # counted on fewer architectures, another number of its own
    fewer = {**yardstick, "kendall": 0.7, "architectures": 100, "images": 0}
    rows = frame({}, {"proxy": "b", "verdict": NOT_SHOWN}, {"proxy": "c", "verdict": WORSE}, fewer, yardstick)
    assert target_sentence(rows) == (
        "toy: of 3 scores, 1 beats counting parameters on the same architectures (in Kendall, a by 0.050); 1 is not "
        "shown to, 1 is worse. On 15,625 architectures, counting parameters has a Kendall of 0.578."
    )
    assert target_sentence(frame({"proxy": "c", "verdict": WORSE}, {"proxy": "d", "verdict": NO_VALUE}, yardstick)) == (
        "toy: of 2 scores, none beats counting parameters on the same architectures; none is not shown to, 1 is worse, "
        "and 1 has no value here. On 15,625 architectures, counting parameters has a Kendall of 0.578."
    )


def test_the_sentence_ranks_by_what_is_gained_on_the_same_architectures():
    # b has the higher Kendall, on architectures where counting has one higher still
    easy = {"proxy": "b", "kendall": 0.8, "over_params": 0.01, "architectures": 50}
    yardstick = {"proxy": "params", "kendall": 0.578, "verdict": THE_BASELINE}
    assert (
        "2 beat counting parameters on the same architectures (in Kendall, a by 0.050, b by 0.010)"
        in target_sentence(frame(easy, {}, yardstick))
    )


def test_regret_columns_are_budgets():
    budgets = [
        {"title": "a", "cost": cost, "share": share, "top1": 0.0123, "top10": 0.001}
        for cost in ("params", "macs", "help_pixel2_latency_ms")
        for share in (0.5, 1.0)
    ]
    sheet = budget_regret_sheet(pd.DataFrame(budgets), ["a"])
    assert [column.name for column in sheet.columns] == [
        "proxy",
        "parameters, lowest 50\u00a0%",
        "FLOPs, lowest 50\u00a0%",
        "latency on help pixel2, lowest 50\u00a0%",
        "no limit",
    ]
    assert sheet.rows == (("a", *["1.23 / 0.10"] * 4),)


def test_published_sheet_says_what_used_labels():
    rows = {row[0]: row for row in published_sheet().rows}
    assert rows["FLOPs"] == ("FLOPs", "macs", "no", "0.623 / 0.799", "0.586 / 0.763", "0.545 / 0.718")
    assert rows["GRAF, random forest"][2] == "yes"
    assert rows["GradSign (Spearman from its own paper)"][3] == "– / 0.765"


def test_front_by_hand():
    points = pd.DataFrame({"seconds": [1.0, 2.0, 3.0, 0.5], "kendall": [0.5, 0.4, 0.6, 0.1]})
    assert front(points).index.tolist() == [3, 0, 2]  # the second is slower and worse than the first
    assert plot_cost(frame({"seconds": np.nan})) is None


def test_running_median_by_hand():
    across, up = np.array([0.1, 0.2, 0.3, 0.9]), np.array([1.0, 5.0, 2.0, 7.0])
    middle, typical = running_median(across, up, bins=2)
    assert middle == pytest.approx([0.2, 0.9])
    assert typical == [2.0, 7.0]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    rng = np.random.default_rng(0)
    n = 60
    size, accuracy = rng.permutation(n).astype(float), rng.uniform(0.5, 0.9, n)
    values = np.array([accuracy, accuracy + 0.01])
    entries = [
        ProxyScores("good<b>", "s:S", "cifar10", "", 1, 64, (0, 1), values, np.ones_like(values, dtype=bool), 0.1),
        ProxyScores("noise$_x$", "s:S", "digits", "", 1, 64, (0, 1), -values, np.ones_like(values, dtype=bool), np.nan),
    ]
    target = Target("Toy, data", "cifar10", "cifar10_test_acc_200", ["?"] * n, accuracy, {"params": size, "macs": size})
    benchmark = judge_entries(entries, [target])._replace(notes=("Something <else> is left out.",))
    return benchmark, write_benchmark(
        benchmark, [(entries, [target])], tmp_path_factory.mktemp("panel") / "new", "automl-kd panel x"
    )


def test_four_files(written):
    benchmark, paths = written
    assert [path.name for path in paths] == ["panel.parquet", "panel_regret.parquet", "panel.md", "panel.html"]
    pd.testing.assert_frame_equal(pd.read_parquet(paths[0]), benchmark.proxies)
    pd.testing.assert_frame_equal(pd.read_parquet(paths[1]), benchmark.regrets)


def test_page_needs_no_network_and_escapes_names(written):
    page = written[1][3].read_text()
    assert page.count("<svg") == 3  # overview, cost, scatter
    assert "good&lt;b&gt;" in page
    assert "<b>" not in page
    assert page.count("Something &lt;else&gt; is left out.") == 1
    assert "noise$_x$" in page  # not read as mathematics
    assert not re.findall(r"(?:src|href)=\"https?:", page)
    assert "url(http" not in page
    assert "Page made by <code>automl-kd panel x</code>" in page


def test_markdown_marks_each_proxy_in_words(written):
    text = written[1][2].read_text()
    assert text.startswith("<!-- made by: automl-kd panel x -->")
    assert "| beats counting parameters |" in text
    assert text.count("Something &lt;else> is left out.\n") == 1
    assert all("| worse than counting parameters |" in line for line in text.splitlines() if "| noise$_x$ | -" in line)
    assert "arXiv:2502.04975" in text
    assert without_html(benchmark_markdown(written[0], "automl-kd panel x")) == text
