"""What the panel says of proxies whose worth is known, and the figures that others computed from the same data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from automl_kd.errors import ResultError
from automl_kd.nasbench.proxy_benchmark.benchmark import (
    BEATS,
    NO_VALUE,
    NOT_SHOWN,
    THE_BASELINE,
    WORSE,
    Target,
    for_target,
    judge_entries,
)
from automl_kd.nasbench.proxy_benchmark.published import figures, published
from automl_kd.nasbench.proxy_benchmark.scores import ProxyScores, arrange, read_long, sizes
from automl_kd.nasbench.proxy_benchmark.sheets import records
from automl_kd.nasbench.proxy_benchmark.targets import of_s1, of_table
from automl_kd.nasbench.table.other_networks import without_others
from automl_kd.nasbench.table.table import Table
from automl_kd.results.store import parquet
from automl_kd.results.store.row import ScoreRow
from automl_kd.results.store.scores import write_scores
from tests.nasbench import table_files as files
from tests.results.synthetic import score

N = 500
LABELS = [f"depth={number}" for number in range(N)]


def random(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=N)


SIZE = np.round(10 * random(0)) + 100
ACCURACY = 0.5 + 0.02 * (SIZE - 100) / 10 + 0.02 * random(1)
TARGET = Target("toy", "cifar10", "cifar10_test_acc_200", LABELS, ACCURACY, {"params": SIZE, "macs": SIZE + random(2)})


def entry(proxy: str, *values: np.ndarray, **changes: Any) -> ProxyScores:
    """Scores of all N, a line for each seed; where a value is NaN the proxy failed."""
    lines = np.array(values)
    asked = changes.pop("asked", np.ones_like(lines, dtype=bool))
    named = {"space": "a:B", "dataset": "cifar10", "teacher": "", "repeats": 1, "images": 64, **changes}
    return ProxyScores(proxy=proxy, seeds=tuple(range(len(lines))), values=lines, asked=asked, seconds=0.1, **named)


def rows(*entries: ProxyScores, target: Target = TARGET) -> dict[str, dict[str, Any]]:
    """The panel's rows by proxy, best first."""
    return {row["proxy"]: row for row in records(judge_entries(entries, [target]).proxies)}


def test_three_verdicts():
    found = rows(
        entry("better", ACCURACY + 0.005 * random(3)), entry("noise", random(4)), entry("double", 2 * SIZE + 3)
    )
    verdicts = {name: row["verdict"] for name, row in found.items() if name != "macs"}
    assert verdicts == {"better": BEATS, "params": THE_BASELINE, "double": NOT_SHOWN, "noise": WORSE}
    # the same ranks as parameters: no draw tells them apart
    low, value, high = (found["double"][f"over_params{suffix}"] for suffix in ("_low", "", "_high"))
    assert max(map(abs, (low, value, high))) < 1e-6
    assert next(iter(found)) == "better"  # best first
    low, value, high = (found["better"][f"over_params{suffix}"] for suffix in ("_low", "", "_high"))
    assert 0 < low < value < high


def test_size_explains_a_score_that_is_size():
    found = rows(entry("double", 2 * SIZE + 3), entry("rest", ACCURACY - 0.002 * SIZE))
    assert math.isnan(found["double"]["partial_spearman"])
    assert found["rest"]["partial_spearman"] > 0.9
    assert found["rest"]["matched_kendall"] > 0.8


def test_failures_rank_last_and_are_counted():
    worst = np.quantile(ACCURACY, 0.2) > ACCURACY
    failing = np.where(worst, np.nan, ACCURACY)
    infinite = np.where(worst, np.inf, ACCURACY)
    found = rows(entry("fails", failing), entry("bursts", infinite))
    assert found["fails"]["failed"] == found["bursts"]["failed"] == 100
    # ties only among the failed: (1 - p) / sqrt(1 - p) for the pairs p that are tied
    tied = 100 * 99 / (N * (N - 1))
    assert found["fails"]["kendall"] == found["bursts"]["kendall"] == pytest.approx(math.sqrt(1 - tied))


def test_what_fails_on_all_or_says_the_same_of_all_has_no_value():
    found = rows(entry("fails", np.full(N, np.nan)), entry("constant", np.ones(N)))
    for proxy in ("fails", "constant"):
        assert found[proxy]["verdict"] == NO_VALUE
        assert math.isnan(found[proxy]["kendall"])


def test_each_proxy_on_its_own_rows_beside_params_on_the_same():
    some = np.zeros((1, N), dtype=bool)
    some[:, :60] = True
    found = rows(entry("partly", 2 * SIZE, asked=some))
    assert found["partly"]["architectures"] == 60
    assert found["partly"]["over_params"] == 0
    assert found["partly"]["kendall"] != found["params"]["kendall"]


def test_too_few_architectures_are_not_judged():
    few = np.zeros((1, N), dtype=bool)
    few[:, :9] = True
    assert "few" not in rows(entry("few", SIZE, asked=few))


def test_without_sizes_nothing_is_judged():
    unknown = np.full(N, np.nan)
    target = Target("toy", "cifar10", "kd_acc", LABELS, ACCURACY, {"params": unknown, "macs": unknown})
    assert for_target([entry("a", ACCURACY)], target) == []
    assert judge_entries([entry("a", ACCURACY)], [target]).proxies.empty


def test_seeds_are_averaged_and_their_spread_is_over_common_rows():
    lines = [ACCURACY + 0.01 * random(seed) for seed in (5, 6, 7)]
    one, two = (rows(entry("a", line))["a"]["kendall"] for line in lines[:2])
    both = rows(entry("a", *lines[:2]))["a"]
    assert both["kendall"] == pytest.approx((one + two) / 2)
    assert both["kendall_seed_std"] == pytest.approx(abs(one - two) / math.sqrt(2))
    assert math.isnan(rows(entry("a", lines[0]))["a"]["kendall_seed_std"])
    # a third seed that scored only some tells of the spread, and leaves the mean to the other two
    asked = np.ones((3, N), dtype=bool)
    asked[2, 100:] = False
    three = rows(entry("a", *lines, asked=asked))["a"]
    assert three["kendall"] == both["kendall"]
    assert (three["architectures"], three["seed_architectures"], three["seeds"]) == (N, 100, 3)
    assert three["kendall_seed_std"] > 0
    # nine architectures in common tell nothing of the spread, ten do
    for common, tells in ((9, False), (10, True)):
        asked[2] = np.arange(N) < common
        few = rows(entry("a", *lines, asked=asked))["a"]
        assert few["seed_architectures"] == common
        assert [math.isnan(few[f"{name}_seed_std"]) for name in ("kendall", "spearman")] == [not tells] * 2


def test_scores_on_the_targets_images_go_before_others():
    own, other = entry("a", SIZE), entry("a", SIZE, dataset="digits")
    lone = entry("b", SIZE, dataset="digits")
    assert [one.proxy for one in for_target([own, other, lone], TARGET)] == ["params", "macs", "a", "b"]
    found = judge_entries([own, other, lone], [TARGET]).proxies
    assert dict(zip(found["proxy"], found["dataset"], strict=True)) == dict.fromkeys(
        ("params", "macs", "a"), "cifar10"
    ) | {"b": "digits"}


def test_scores_of_params_take_the_place_of_the_tables():
    assert rows(entry("params", SIZE))["params"]["seconds"] == 0.1


def test_published_figures_stand_beside_only_what_they_are_of():
    assert published("synflow", "cifar10") == (0.561, 0.758)
    assert all(math.isnan(value) for value in published("no such", "cifar10"))
    assert rows(entry("synflow", SIZE))["synflow"]["published_kendall"] == 0.561
    distilled = Target("s1", "cifar100", "kd_acc", LABELS, ACCURACY, TARGET.costs)
    assert math.isnan(rows(entry("synflow", SIZE), target=distilled)["synflow"]["published_kendall"])


def test_published_figures_are_correlations():
    assert len(figures()) == 17
    assert len({one.title for one in figures()}) == 17
    for one in figures():
        for tau, rho in zip(one.kendall.values(), one.spearman.values(), strict=True):
            assert 0 < rho < 1
            assert math.isnan(tau) or 0 < tau < 1
    assert [one.title for one in figures() if one.labels] == ["GRAF, random forest", "VKDNW with proxies and GRAF"]


def test_arranged_along_labels(tmp_path):
    made: list[ScoreRow] = [
        *(score("a", number, float(number), seed=seed) for number in (1, 2) for seed in (0, 1)),
        score("a", 3, None, error="the loss was not finite", spread=None),
        score("b", 1, 7.0, teacher="resnet20", seconds=3.0),
        score("b", 99, 7.0, teacher="resnet20"),
    ]
    write_scores(tmp_path, made)
    write_scores(tmp_path, [score("a", 2, None, error="killed")])  # a failure beside a score
    labels = ["depth=3", "depth=2", "depth=1"]
    a, b = arrange(read_long([tmp_path]), labels)
    assert (a.proxy, a.seeds, a.teacher, a.images) == ("a", (0, 1), "", 0)
    np.testing.assert_array_equal(a.values, [[np.nan, 2.0, 1.0], [np.nan, 2.0, 1.0]])
    np.testing.assert_array_equal(a.asked, [[True, True, True], [False, True, True]])
    assert (a.leading.tolist(), a.failed) == ([True, False], 1)
    assert (b.teacher, b.seconds, b.asked.tolist()) == ("resnet20", 3.0, [[False, False, True]])
    assert sizes(read_long([tmp_path]), labels)[0].tolist() == [3000.0, 2000.0, 1000.0]


def test_of_duplicates_the_one_of_the_longer_file_counts(tmp_path):
    # the short file has the higher score of one architecture, the lower of the other, and the only one of the third
    long = [score("a", 1, 1.0), score("a", 2, 2.0), score("a", 3, None, error="killed"), score("a", 4, 4.0)]
    short = [score("a", 1, 9.0, seconds=100.0), score("a", 2, -9.0, seconds=100.0), score("a", 3, 3.0)]
    labels = [f"depth={number}" for number in (1, 2, 3, 4)]
    first, second = write_scores(tmp_path, long), write_scores(tmp_path, short)
    for paths in ([first, second], [second, first], [tmp_path]):
        [one] = arrange(read_long(paths), labels)
        assert one.values.tolist() == [[1.0, 2.0, 3.0, 4.0]]
        assert one.seconds == 0.5  # of those that count
    [one] = arrange(read_long([write_scores(tmp_path, [score("b", 1, 1.0)]), tmp_path]), labels)[1:]
    assert one.values[0, 0] == 1.0
    # equally long: the last read
    other = write_scores(tmp_path / "other", [score("a", number, 7.0) for number in (1, 2, 3, 4)])
    assert arrange(read_long([first, other]), labels)[0].values[0, 0] == 7.0
    assert arrange(read_long([other, first]), labels)[0].values[0, 0] == 1.0


def test_an_aggregate_is_judged_within_its_largest_set_of_architectures(tmp_path):
    # the smaller set's file is the longer one, and its ranks are those of another set
    few = [score("sum(a+b)", number, 100.0 + number, among=4, seed=seed) for number in range(4) for seed in (0, 1, 2)]
    many = [score("sum(a+b)", number, float(number), among=6) for number in range(6)]
    old = [score("sum(a+b)", number, -1.0) for number in range(6)]
    plain = [score("a", number, float(number)) for number in range(6)]
    for made in (few, many, old, plain):
        write_scores(tmp_path, made)
    labels = [f"depth={number}" for number in range(6)]
    single, aggregate = sorted(arrange(read_long([tmp_path]), labels), key=lambda one: one.proxy)
    assert (single.proxy, single.among, single.narrower) == ("a", 0, ())
    assert (aggregate.among, aggregate.narrower, aggregate.seeds) == (6, (0, 4), (0,))
    assert aggregate.values.tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]


def kinds(frame: pd.DataFrame) -> set[tuple[str, str]]:
    return {(str(space), str(dataset)) for space, dataset in zip(frame["space"], frame["dataset"], strict=True)}


def test_scores_of_other_networks_are_known_by_their_parameters(tmp_path):
    # The table's cells have 100,000 parameters, 200,000 and so on, on each dataset.
    table = Table.load(files.write(tmp_path))
    made = [
        score("a", number, 1.0, student=files.cell(number), space=space, dataset=dataset, params=params(place))
        for place, number in enumerate(files.NUMBERS, 1)
        for space, dataset, params in (
            ("a:SAME", "cifar100", lambda place: 100_000 * place),
            ("a:SAME", "digits", lambda place: 100_000 * place - 288),  # one channel in: another stem
            ("a:WIDE", "cifar100", lambda place: 100_000 * place + 650),  # the table's dataset, not its classifier
            ("a:SMALL", "digits", lambda place: 25_000 * place),
            ("a:SILENT", "digits", lambda _: None),
        )
    ]
    made.append(score("a", 1, 1.0, student="1-3-5", space="a:OTHER", params=5))  # not a cell
    write_scores(tmp_path, made)
    kept, said = without_others(read_long([tmp_path]), table)
    assert kinds(kept) == {
        ("a:SAME", "cifar100"),
        ("a:SAME", "digits"),
        ("a:SILENT", "digits"),
        ("a:OTHER", "digits"),
    }
    assert len(kept) == 13
    small, wide = sorted(said)
    assert small == (
        "Scores of a:SMALL on digits are left out: its networks are not those of the table (their parameters differ by "
        "-300,000 to -75,000, where the same difference for all cells was expected); score "
        "search_spaces.nasbench201:SPACE."
    )
    assert wide.startswith("Scores of a:WIDE on cifar100 are left out: its networks are not those of the table (their ")
    assert "differ by +650 to +650, where no difference was expected" in wide


@pytest.mark.parametrize("dataset", ["cifar100", "digits"])
def test_a_table_without_parameters_tells_of_no_other_networks(tmp_path, dataset):
    unknown = dict.fromkeys(("cifar10_params_m", "cifar100_params_m"), [math.nan] * len(files.NUMBERS))
    table = Table.load(files.write(tmp_path, unknown))
    made = [score("a", number, 1.0, student=files.cell(number), dataset=dataset) for number in files.NUMBERS]
    write_scores(tmp_path, made)
    assert without_others(read_long([tmp_path]), table)[1] == ()


def test_one_file_reads_like_its_folder(tmp_path):
    path = write_scores(tmp_path, [score("a", 1, 1.0), score("b", 1, 2.0)])
    pd.testing.assert_frame_equal(read_long([path]), read_long([tmp_path]))


def test_scores_that_are_none(tmp_path):
    with pytest.raises(ResultError, match=r"no scores are in .*; give a folder that 'automl-kd score' wrote to"):
        read_long([tmp_path])
    path = tmp_path / "scores" / "torn.parquet"
    path.parent.mkdir()
    path.write_bytes(b"PAR1 and half of it")
    with pytest.raises(ResultError, match=r"torn\.parquet cannot be read as Parquet"):
        read_long([tmp_path])
    files.write(tmp_path)
    with pytest.raises(ResultError, match="has no column 'architecture_id'"):
        read_long([tmp_path / "nasbench201.parquet"])


def write_s1(path: Path) -> Path:
    columns = {"arch": ["135", "777"], "kd_acc": [70.0, 75.0], "cls_acc": [68.0, 72.0]}
    parquet.write_parquet(pa.table(columns), path)
    return path


def test_s1_has_two_targets_and_sizes_from_the_scores(tmp_path):
    write_scores(tmp_path, [score("a", 1, 1.0, student="7-7-7", params=5, macs=50)])
    distilled, plain = of_s1(write_s1(tmp_path / "s1.parquet"), read_long([tmp_path]))
    assert distilled.labels == ["1-3-5", "7-7-7"]
    assert (distilled.accuracy.tolist(), plain.accuracy.tolist()) == ([0.7, 0.75], [0.68, 0.72])
    np.testing.assert_array_equal(distilled.costs["params"], [np.nan, 5.0])


def standin(folder: Path, shared_data: Path, table: Table) -> list[ProxyScores]:
    """The public scores of a few proxies as if this project had computed them."""
    public = pd.read_parquet(shared_data / "nasbench201_zero_cost.parquet")
    names = {"freerea_logsynflow": "logsynflow", "freerea_naswot": "naswot", "suitezero_jacov": "jacob_cov"}
    entries = []
    for dataset, ours in public.groupby("dataset", observed=True):
        ordered = ours.set_index("arch_index").loc[table.arch_index]
        for column, proxy in names.items():
            values = ordered[column].to_numpy(dtype=np.float64)[None]
            asked = np.full_like(values, fill_value=True, dtype=bool) if "freerea" in column else ~np.isnan(values)
            if asked.any():
                entries.append(ProxyScores(proxy, "a:B", str(dataset), "", 1, 64, (0,), values, asked, 0.1))
    return entries


@pytest.mark.slow
def test_figures_computed_elsewhere_from_the_same_tables(tmp_path, shared_data):
    # Kendall and Spearman with 200-epoch test accuracy, by scipy; in the order of the datasets
    expected = {
        "params": ((0.578, 0.753), (0.553, 0.728), (0.520, 0.691)),
        "macs": ((0.578, 0.753), (0.553, 0.728), (0.520, 0.691)),
        "logsynflow": ((0.630, 0.826), (0.597, 0.792), (0.585, 0.777)),
        "jacob_cov": ((0.615, 0.799), None, (0.604, 0.785)),
    }
    table = Table.load(shared_data)
    benchmark = judge_entries(standin(tmp_path, shared_data, table), of_table(table))
    for proxy, figures_ in expected.items():
        for target, wanted in zip(of_table(table), figures_, strict=True):
            found = benchmark.proxies[
                (benchmark.proxies["target"] == target.title) & (benchmark.proxies["proxy"] == proxy)
            ]
            if wanted is not None:
                assert found[["kendall", "spearman"]].to_numpy()[0] == pytest.approx(wanted, abs=6e-4)
    assert (
        benchmark.proxies.set_index(["target", "proxy"]).loc[("NAS-Bench-201, CIFAR-10", "jacob_cov"), "architectures"]
        == 9445
    )
    counted = benchmark.regrets[benchmark.regrets["proxy"] == "params"]
    assert list(counted.groupby("target", sort=False, observed=True)["best"].max().mul(100).round(2)) == [
        94.37,
        73.51,
        47.31,
    ]
