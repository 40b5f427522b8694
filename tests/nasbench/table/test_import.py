"""The official files turned into a table: against the sample that their authors publish, and what is refused."""

from __future__ import annotations

import bz2
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from automl_kd.errors import ConfigError, ResultError
from automl_kd.nasbench.table import official_files as nats_bench
from automl_kd.nasbench.table.table import Table

NUMBERS = [0, 11, 284]
ARCHIVE = "NATS-tss-v1_0-3ffb9-simple"


@pytest.fixture(scope="session")
def sample(shared_data: Path) -> Path:
    pytest.importorskip("nats_bench", reason="reading official files needs the package nats_bench")
    return shared_data / "nats_tss_sample" / ARCHIVE


@pytest.fixture
def copy(sample: Path, tmp_path: Path) -> Path:
    """The sample as files that may be changed."""
    folder = tmp_path / "official"
    folder.mkdir()
    for file in sample.iterdir():
        shutil.copyfile(file, folder / file.name)
    return folder


@pytest.fixture(scope="session")
def imported(sample, tmp_path_factory) -> Table:
    path, rows = nats_bench.import_archive(sample, tmp_path_factory.mktemp("imported"))
    assert rows == 3
    return Table.load(path)


def test_the_sample_agrees_with_the_whole_table(imported, shared_data):
    whole = Table.load(shared_data)
    rows = whole.rows_of(np.array(NUMBERS))
    assert imported.arch_index.tolist() == NUMBERS
    assert imported.extent == "3 of 15,625 architectures"
    assert imported.arch_str == tuple(whole.arch_str[row] for row in rows)
    assert set(whole.columns) <= set(imported.columns)
    for name, values in whole.columns.items():
        known = ~np.isnan(values[rows])  # the whole table lacks some single seeds
        np.testing.assert_allclose(imported.columns[name][known], values[rows][known], rtol=1e-6, err_msg=name)


def test_validation_at_200_epochs_comes_with_the_official_files(imported):
    # number 0 on CIFAR-10's half, seeds 777, 888, 999 as the package prints them: 82.092, 81.616, 82.240
    choosing = imported.choosing("cifar10", 200)
    assert choosing.values[0] == pytest.approx((0.82092 + 0.81616 + 0.82240) / 3, abs=1e-6)
    assert choosing.accuracy.half
    # on CIFAR-100: 51.88, 53.08, 53.14 of the validation images, 51.98, 53.68, 53.08 of the others
    assert imported.choosing("cifar100", 200).values[0] == pytest.approx((0.5188 + 0.5308 + 0.5314) / 3, abs=1e-6)
    assert imported.reporting("cifar100").values[0] == pytest.approx((0.5198 + 0.5368 + 0.5308) / 3, abs=1e-6)


def test_a_single_seed_is_that_seed(imported):
    assert imported.choosing_named("cifar10_trainhalf_test_acc_200_s888").values[0] == pytest.approx(0.8190)
    assert imported.reporting_named("cifar100_test_acc_200_s888").values[0] == pytest.approx(0.5368, abs=1e-6)


def test_times_derived_from_one_column_are_those_of_the_files(imported, sample):
    from nats_bench import create

    official = create(str(sample), "tss", fast_mode=True, verbose=False)
    for dataset, key in {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet16": "ImageNet16-120"}.items():
        for epochs in (12, 200):
            runs = [official.query_meta_info_by_index(number, str(epochs)) for number in NUMBERS]
            spent = [run.get_metrics(key, "train")["all_time"] for run in runs]
            np.testing.assert_allclose(imported.seconds(dataset, epochs), spent, rtol=1e-9)


def test_all_isomorphs_are_those_of_the_whole_table(sample, shared_data):
    found = nats_bench.isomorphs(nats_bench.opened(sample))
    assert list(found.values()) == Table.load(shared_data).isomorph.tolist()


def test_memory_does_not_keep_what_was_read(sample, tmp_path, monkeypatch):
    held, opened = [], nats_bench.opened

    def watched(official):
        held.append(opened(official))
        return held[0]

    seen = []
    monkeypatch.setattr(nats_bench, "opened", watched)
    nats_bench.import_archive(sample, tmp_path, None, lambda done, _: seen.append((done, len(held[0].arch2infos_dict))))
    # before each architecture, none is held
    assert seen == [(0, 0), (1, 0), (2, 0)]
    assert not held[0].arch2infos_dict


def test_part_of_the_archive_is_imported(copy, tmp_path):
    (copy / "000011.pickle.pbz2").unlink()
    path, rows = nats_bench.import_archive(copy, tmp_path / "some.parquet")
    assert (path, rows) == (tmp_path / "some.parquet", 2)
    assert Table.load(path).arch_index.tolist() == [0, 284]


def test_runs_that_are_not_in_a_file_are_left_empty(copy, tmp_path):
    def without_888(stored):
        run = stored["200"]
        run["dataset_seed"]["cifar10-valid"] = [777, 999]
        run["dataset_seed"].pop("ImageNet16-120", None)

    change(copy / "000000.pickle.pbz2", without_888)
    with pytest.raises(ResultError, match=r"000000\.pickle\.pbz2 is damaged"):  # its size is not known either
        nats_bench.import_archive(copy, tmp_path)
    change(copy / "000000.pickle.pbz2", lambda stored: stored["200"]["dataset_seed"].update({"ImageNet16-120": [777]}))
    table = Table.load(nats_bench.import_archive(copy, tmp_path)[0])
    assert np.isnan(table.column("cifar10_trainhalf_test_acc_200_s888")).tolist() == [True, False, False]
    assert np.isnan(table.column("imagenet16_test_acc_200_s888")).tolist() == [True, False, False]
    # number 0: seeds 777 and 999 remain of the mean
    assert table.column("cifar10_valid_acc_200")[0] == pytest.approx((82.092 + 82.240) / 2, abs=1e-4)
    # seed 777 alone
    assert table.column("imagenet16_test_acc_200")[0] == pytest.approx(27.0333, abs=1e-4)


def test_latencies_are_put_beside(sample, tmp_path):
    hardware = tmp_path / "measured.parquet"
    pd.DataFrame({"arch_index": [284, 0], "help_toy_latency_ms": [1.5, -1.0]}).to_parquet(hardware)
    table = Table.load(nats_bench.import_archive(sample, tmp_path / "out", hardware)[0])
    np.testing.assert_array_equal(table.latency_ms("help_toy"), [np.nan, np.nan, 1.5])


def change(file: Path, edit) -> None:
    with bz2.open(file) as packed:
        stored = pickle.load(packed)
    edit(stored)
    with bz2.open(file, "wb") as packed:
        pickle.dump(stored, packed)


def refused(copy: Path, tmp_path: Path, kind: type[Exception]) -> str:
    """What is said; nothing may have been written."""
    with pytest.raises(kind) as caught:
        nats_bench.import_archive(copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["meta", "000284"])
@pytest.mark.parametrize("content", [b"", b"not bz2", bz2.compress(b"not a pickle"), bz2.compress(pickle.dumps({}))])
def test_damaged_files_are_named(copy, tmp_path, name, content):
    (copy / f"{name}.pickle.pbz2").write_bytes(content)
    assert f"{name}.pickle.pbz2 is damaged" in refused(copy, tmp_path, ResultError)


def test_a_file_cut_short_is_named(copy, tmp_path):
    file = copy / "000011.pickle.pbz2"
    file.write_bytes(file.read_bytes()[:10_000])
    assert "000011.pickle.pbz2 is damaged" in refused(copy, tmp_path, ResultError)


def test_a_file_under_another_number_is_named(copy, tmp_path):
    (copy / "000011.pickle.pbz2").rename(copy / "000012.pickle.pbz2")
    assert "000012.pickle.pbz2 is damaged" in refused(copy, tmp_path, ResultError)


def test_other_benchmarks_are_refused(copy, tmp_path):
    def size_space(stored):
        stored["meta_archs"] = ["8:8:8:8:8", "8:8:8:8:16"]

    change(copy / "meta.pickle.pbz2", size_space)
    assert "is not the topology space: '8:8:8:8:8' is no cell" in refused(copy, tmp_path, ResultError)


def test_another_numbering_is_refused(copy, tmp_path):
    change(copy / "meta.pickle.pbz2", lambda stored: stored["meta_archs"].reverse())
    assert "numbers the cells otherwise than version 1.0" in refused(copy, tmp_path, ResultError)


def test_what_is_no_archive_is_refused(tmp_path):
    assert "holds no official NATS-Bench files" in refused(tmp_path / "nowhere", tmp_path, ConfigError)
    (tmp_path / "one.pickle.pbz2").write_bytes(b"")
    assert "name its folder" in refused(tmp_path / "one.pickle.pbz2", tmp_path, ConfigError)


def test_without_the_package_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    for name in ("meta", "000000"):
        (tmp_path / f"{name}.pickle.pbz2").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "nats_bench", None)
    assert "pip install nats_bench" in refused(tmp_path, tmp_path, ConfigError)
