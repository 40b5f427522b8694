"""`automl-kd nasbench import`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from automl_kd.nasbench.table.table import Table
from tests.cli.conftest import tree

COMMAND = ("nasbench", "import")


@pytest.fixture
def sample(shared_data) -> str:
    pytest.importorskip("nats_bench", reason="reading official files needs the package nats_bench")
    return str(shared_data / "nats_tss_sample" / "NATS-tss-v1_0-3ffb9-simple")


def test_the_sample_becomes_a_table(run, tmp_path, sample, shared_data):
    latencies = shared_data / "nasbench201_hardware.parquet"
    code, out, err = run(*COMMAND, sample, "table", "--hardware", str(latencies))
    assert code == 0, err
    assert err == "importing 3 architectures\n"
    assert out == f"3 of 15,625 architectures written to {tmp_path / 'table' / 'nasbench201.parquet'}\n"
    assert set(tree(tmp_path / "table")) == {"nasbench201.parquet", "nasbench201_hardware.parquet"}
    assert len(Table.load(tmp_path / "table").devices) == 45


def test_the_same_again_is_the_same_file(run, tmp_path, sample):
    run(*COMMAND, sample, "one.parquet")
    before = tree(tmp_path)
    assert run(*COMMAND, sample, "one.parquet").code == 0
    assert tree(tmp_path) == before


def test_a_full_disk_leaves_nothing(refused, sample, no_space):
    assert os.strerror(errno.ENOSPC) in refused(*COMMAND, sample, "table")


def test_mistakes_are_one_sentence(refused, tmp_path, monkeypatch):
    assert "holds no official NATS-Bench files" in refused(*COMMAND, "nowhere", "table")
    (tmp_path / "file").write_bytes(b"")
    assert "file/nasbench201.parquet cannot be written" in refused(*COMMAND, "nowhere", "file")
    for name in ("meta", "000000"):
        (tmp_path / f"{name}.pickle.pbz2").write_bytes(b"")
    said = refused(*COMMAND, ".", "table", "--hardware", "file")
    assert "file is damaged or no Parquet file" in said
    monkeypatch.setitem(sys.modules, "nats_bench", None)
    assert "pip install nats_bench" in refused(*COMMAND, ".", "table")
