"""The NAS-Bench-201 table: its facts, what may choose and what may report, and what is refused."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.errors import ConfigError, ResultError, UnknownNameError
from automl_kd.nasbench.table import cells
from automl_kd.nasbench.table.columns import PATTERN, TABLE_DATASETS, parse_column
from automl_kd.nasbench.table.table import VALIDATION_LIKE, Choosing, Table, Yardsticks
from search_spaces.nasbench201 import OPERATIONS, from_index, index, to_string
from tests.nasbench.table_files import NUMBERS, cell, sentence, write


@pytest.fixture(scope="module")
def whole(shared_data) -> Table:
    return Table.load(shared_data)


@pytest.fixture
def small(tmp_path) -> Table:
    """Rows sorted by number: 0, 3, 11, 284; their places in the file were 1, 0, 3, 2."""
    return Table.load(write(tmp_path))


# --- the published facts


def test_facts_of_the_benchmark(whole):
    assert len(whole) == len(set(whole.arch_str)) == 15_625
    # number of the best architecture and its test accuracy
    best = {"cifar10": (6111, 0.9437), "cifar100": (9930, 0.7351), "imagenet16": (857, 0.4731)}
    for dataset, (number, accuracy) in best.items():
        reporting = whole.reporting(dataset)
        assert reporting.values.argmax() == number
        assert reporting.best == pytest.approx(accuracy, abs=5e-5)
    assert len(np.unique(whole.isomorph)) == 6_466
    assert whole.macs("cifar10").max() == pytest.approx(220.12e6, abs=5e3)
    # all 3x3: the largest; nothing at all: the smallest
    everything, nothing = (
        whole.index_of(to_string(dict.fromkeys(from_index(0), op))) for op in (OPERATIONS[3], "none")
    )
    assert whole.params("cifar10")[[everything, nothing]] == pytest.approx([1_531_546, 73_306])
    assert (whole.params("cifar10").argmax(), whole.params("cifar10").min()) == (everything, pytest.approx(73_306))


def test_the_clock_is_proportional_to_images(whole, shared_data):
    times = pd.read_parquet(shared_data / "nasbench201_times_first1000.parquet")
    for (dataset, epochs), measured in times.groupby(["dataset", "epochs"], observed=True):
        rows = whole.rows_of(measured["arch_index"].to_numpy())
        np.testing.assert_allclose(whole.seconds(dataset, epochs)[rows], measured["train_time_s"], rtol=1e-9)


def test_loads_in_a_moment(shared_data):
    def once() -> float:
        begun = time.perf_counter()
        Table.load(shared_data)
        return time.perf_counter() - begun

    # 0.2 s where it was last measured; ten times as much on a slow or busy machine is no fault of the code
    assert min(once() for _ in range(3)) < 5


def test_latencies_of_the_whole_benchmark(whole):
    assert len(whole.devices) == 45
    # 4,699 architectures do not run on an Edge TPU, and the file has -1 for them
    assert np.isnan(whole.latency_ms("hwnas_cifar10_edgetpu")).sum() == 4_699
    assert all(np.nanmin(whole.latency_ms(device)) > 0 for device in whole.devices)


def test_columns_with_gaps_report_but_cannot_choose(whole):
    assert np.isnan(whole.reporting_named("cifar100_test_acc_200_s888").values).sum() == 14_239
    assert "test accuracy, for reports only" in sentence(whole.choosing_named, "cifar100_test_acc_200_s888")


def test_each_accuracy_has_one_role(whole):
    for one in map(parse_column, filter(PATTERN.fullmatch, whole.columns)):
        allowed, refused = whole.choosing_named, whole.reporting_named
        if not one.chooses:
            allowed, refused = refused, allowed
        assert allowed(one.text).name == one.text
        sentence(refused, one.text, kind=ConfigError)


def test_at_200_epochs_the_stand_in_must_be_named(whole):
    said = sentence(whole.choosing, "cifar10", 200, kind=ConfigError)
    assert "choose by cifar10_valid_acc_12" in said
    assert f"{VALIDATION_LIKE} may stand in if named in full" in said
    assert "stand in" not in sentence(whole.choosing, "cifar100", 200, kind=ConfigError)
    pair = Yardsticks(whole.choosing_named(VALIDATION_LIKE), whole.reporting("cifar10"))
    assert "seed 888 only (trained on half of the training images, measured on the test images;" in pair.statement
    # 12 epochs on the half, then 200 on the half
    ratio = whole.seconds_of(pair.choosing) / whole.seconds_of(whole.choosing("cifar10"))
    assert ratio == pytest.approx(np.full(15_625, 200 / 12))


# --- by hand


def test_rows_are_sorted_and_accuracies_are_fractions(small):
    assert small.arch_index.tolist() == [0, 3, 11, 284]
    assert small.arch_str == tuple(map(cell, [0, 3, 11, 284]))
    assert small.choosing("cifar10").values.tolist() == [0.51, 0.50, 0.53, 0.52]
    assert small.reporting("cifar10").values.tolist() == [0.59, 0.60, 0.57, 0.58]
    assert small.extent == "4 of 15,625 architectures"


def test_choosing_and_regret(small):
    choosing, reporting = small.choosing("cifar10"), small.reporting("cifar10")
    # validation .51 .50 .53 .52: of rows 0, 1 the first, of rows 1, 3 the last
    assert choosing.prefer(np.array([[0, 1], [1, 3]])).tolist() == [0, 3]
    assert choosing.prefer(np.array([0, 1, 2, 3])) == 2
    # test .59 .60 .57 .58; the best is .60
    assert reporting.regret(np.array([[0], [1], [2]])) == pytest.approx(np.array([[0.01], [0.0], [0.03]]))


def test_costs(small):
    # 12 epochs on 25,000 images take 24, 12, 48, 36 seconds
    assert small.seconds("cifar10", 12, half=True).tolist() == [24, 12, 48, 36]
    assert small.seconds("cifar10", 1) == pytest.approx([4, 2, 8, 6])
    assert small.seconds_of(small.choosing("cifar10")).tolist() == [24, 12, 48, 36]
    assert small.seconds_of(small.choosing("cifar100")).tolist() == [48, 24, 96, 72]
    # 151,700 images in place of 25,000
    assert small.seconds("imagenet16", 12) == pytest.approx([24 * 6.068, 12 * 6.068, 48 * 6.068, 36 * 6.068])
    assert small.params("cifar100") == pytest.approx([200_000, 100_000, 400_000, 300_000])
    assert small.macs("cifar100") == pytest.approx([20e6, 10e6, 40e6, 30e6])
    assert "only cifar10" in sentence(lambda: small.seconds("cifar100", 12, half=True))


def test_arrays_cannot_be_written_to(small):
    for values in (small.choosing("cifar10").values, small.column("cifar10_flops_m"), small.arch_index):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 0


def test_roles_cannot_be_exchanged(small: Table) -> None:
    choosing, reporting = small.choosing("cifar10"), small.reporting("cifar10")
    assert Yardsticks(choosing, reporting).statement == (
        "Chosen by cifar10_valid_acc_12: validation accuracy on cifar10 after 12 epochs, mean over the official seeds. "
        "Reported on cifar10_test_acc_200: test accuracy on cifar10 after 200 epochs, mean over the official seeds."
    )
    with pytest.raises(TypeError, match="got Reporting and Choosing"):
        Yardsticks(reporting, choosing)  # type: ignore[arg-type]  # what mypy refuses is refused at run time too
    with pytest.raises(TypeError, match="got Reporting and Reporting"):
        Yardsticks(reporting, reporting)  # type: ignore[arg-type]  # likewise
    with pytest.raises(ConfigError, match="for reports only"):
        Choosing(reporting.accuracy, reporting.values)
    assert "two datasets" in sentence(Yardsticks, choosing, small.reporting("cifar100"))


def test_a_validation_accuracy_with_gaps_cannot_choose(tmp_path):
    table = Table.load(write(tmp_path, {"cifar10_valid_acc_200": [80.0, None, 82.0, None]}))
    assert "has no value for 2 of 4 architectures" in sentence(table.choosing, "cifar10", 200, kind=ConfigError)


def test_names_of_accuracies():
    one = parse_column("cifar10_trainhalf_test_acc_200_s888")
    assert (one.dataset, one.split, one.epochs, one.seed, one.trainhalf) == ("cifar10", "test", 200, 888, True)
    assert parse_column("cifar100_valid_acc_12").dataset == "cifar100"
    # CIFAR-10's validation images are one half of its training images; the others' are taken from their test images
    assert [parse_column(f"{dataset}_valid_acc_12").half for dataset in TABLE_DATASETS] == [True, False, False]
    for wrong in ("cifar10_acc_200", "cifar10_val_acc", "cifar10_flops_m", "cifar10_test_acc_200_s", ""):
        assert "is not the name of an accuracy" in sentence(parse_column, wrong, kind=UnknownNameError)


# --- architectures


@given(st.lists(st.integers(0, cells.CELL_COUNT - 1), min_size=1, max_size=20))
def test_strings_are_read_as_the_space_writes_them(numbers):
    values = [from_index(number) for number in numbers]
    encodings = cells.encode([to_string(one) for one in values])
    assert encodings.tolist() == [[OPERATIONS.index(one[edge]) for edge in cells.EDGES] for one in values]
    ranks = cells.lexicographic_ranks(encodings)
    assert (cells.official_ranks()[[index(one) for one in values]] == ranks).all()


def test_neighbours_differ_in_one_operation(whole):
    differing = (whole.encodings[whole.neighbours] != whole.encodings[:, None]).sum(axis=2)
    assert whole.neighbours.shape == (15_625, 24)
    assert (differing == 1).all()
    assert all(len(set(row)) == 24 for row in whole.neighbours[:100].tolist())


def test_looking_up_architectures(small):
    assert [small.index_of(cell(number)) for number in NUMBERS] == [1, 0, 3, 2]
    assert small.rows_of(np.array([[284, 0], [3, 3]])).tolist() == [[3, 0], [1, 1]]
    assert "is no cell of NAS-Bench-201; write it as |op~0|" in sentence(small.index_of, "|none~0|", kind=ResultError)
    assert "holds 4 of 15,625 architectures" in sentence(small.index_of, cell(5), kind=ResultError)
    assert sentence(small.rows_of, np.array([3, 7])).startswith("number 7 is not in")
    assert "number 15000 is not in" in sentence(small.rows_of, np.array([15_000]))
    assert "a search needs all" in sentence(small.require_whole, "a search", kind=ResultError)
    assert "needs all" in sentence(lambda: small.neighbours)


# --- hardware


def test_hardware_is_joined_by_number(tmp_path):
    path = write(tmp_path)
    frame = pd.DataFrame(
        {"arch_index": [284, 0, 11], "help_toy_latency_ms": [1.5, -1.0, 2.5], "help_toy_energy_mj": 3.0}
    )
    frame.to_parquet(tmp_path / "nasbench201_hardware.parquet")
    table = Table.load(path)
    assert table.devices == ("help_toy",)
    # rows 0, 3, 11, 284: does not run; not in the file; 2.5; 1.5
    np.testing.assert_array_equal(table.latency_ms("help_toy"), [np.nan, np.nan, 2.5, 1.5])
    assert sentence(table.latency_ms, "help_toi") == "no device is called 'help_toi'; did you mean 'help_toy'?"


def test_without_hardware(small):
    assert small.devices == ()
    assert "no nasbench201_hardware.parquet beside" in sentence(small.latency_ms, "help_toy", kind=ConfigError)
