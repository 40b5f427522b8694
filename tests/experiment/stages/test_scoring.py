"""Scoring whole spaces: resumed, in shards, on a pool; always the same table."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from automl_kd import data as sets
from automl_kd.cluster import scoring_pool
from automl_kd.errors import ConfigError
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.stages import scoring as module
from automl_kd.experiment.stages.scoring import Labour, Scoring, score_space
from automl_kd.proxies.scorer import Scorer
from automl_kd.space import Architecture
from search_spaces import nasbench201
from tests.data.pictures import fill

SETTINGS = Scoring(
    space="search_spaces.nasbench201:SMALL_SPACE",
    proxies=("diswot_relation", "grad_norm", "params", "rank_sum(grad_norm+params)"),
    sample=40,
    images=8,
    repeats=2,
)
ALONE = Labour(workers=1)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 4)


def run(out: Path, labour: Labour = ALONE, settings: Scoring = SETTINGS) -> pd.DataFrame:
    """The table without its times; empty if other shards are not done."""
    path, ranked = score_space(settings, labour, out=out, data_root=out, watcher=Silent())
    return pd.DataFrame() if ranked is None else pd.read_parquet(path).drop(columns="seconds")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pd.DataFrame:
    return run(tmp_path_factory.mktemp("whole"))


def test_the_table_holds_each_architecture_under_each_proxy(whole: pd.DataFrame):
    assert len(whole) == 40 * 4
    assert whole["score"].notna().all()
    assert set(whole["repeats"]) == {2}
    params = whole[whole["proxy"] == "params"]
    assert (params["score"] == params["params"]).all()
    assert (params["spread"] == 0).all()
    assert (whole.loc[whole["proxy"] == "grad_norm", "spread"] > 0).all()


def test_broken_off_it_continues_and_ends_with_the_same_table(tmp_path, monkeypatch, whole):
    read, calls = Scorer.__call__, []

    def dies(self, architectures):
        calls.append(len(architectures))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(self, architectures)

    monkeypatch.setattr(Scorer, "__call__", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    before = len(calls)

    def counts(self, architectures):
        calls.append(len(architectures))
        return read(self, architectures)

    monkeypatch.setattr(Scorer, "__call__", counts)
    pd.testing.assert_frame_equal(run(tmp_path), whole)
    batches = -(-len(set(map(function_of, architectures()))) // 4)
    assert len(calls) - before == batches - 2  # two batches were on disk
    calls.clear()
    pd.testing.assert_frame_equal(run(tmp_path), whole)
    assert not calls
    (left,) = (tmp_path / "scores").iterdir()
    assert left.suffix == ".parquet"


def test_shards_make_the_same_table(tmp_path, whole):
    assert run(tmp_path, Labour(workers=1, shard=(2, 3))).empty
    assert run(tmp_path, Labour(workers=1, shard=(1, 3))).empty
    pd.testing.assert_frame_equal(run(tmp_path, Labour(workers=1, shard=(3, 3))), whole)


@pytest.mark.ray
def test_a_pool_makes_the_same_table(tmp_path, whole):
    pd.testing.assert_frame_equal(run(tmp_path, Labour(workers=2)), whole)


@pytest.mark.slow
def test_equal_functions_are_read_once_and_score_the_same(monkeypatch, tmp_path):
    seen: list[Architecture] = []
    read = Scorer.read

    def sees(self, architecture, draw):
        seen.append(architecture)
        return read(self, architecture, draw)

    monkeypatch.setattr(Scorer, "read", sees)
    settings = Scoring(space=SETTINGS.space, proxies=("grad_norm",), sample=400, images=4)
    table = run(tmp_path, settings=settings)
    assert len(seen) == len(set(seen)) < 400 * 0.9
    stand_ins = [function_of(Architecture.of(nasbench201.from_string(one))) for one in table["student"]]
    assert table.groupby([one.key for one in stand_ins], observed=True)["score"].nunique(dropna=False).eq(1).all()


def architectures() -> list[Architecture]:
    return module.draw_distinct_points(nasbench201.SMALL_SPACE, 40, 0)


def function_of(one: Architecture) -> Architecture:
    assert nasbench201.SMALL_SPACE.canonical is not None
    return Architecture.of(nasbench201.SMALL_SPACE.canonical(one.as_dict()))


def test_a_worker_that_is_not_there_is_not_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(scoring_pool, "session", lambda *_: pytest.fail("no Ray was wanted"))
    counts = Scoring(space=SETTINGS.space, proxies=("params", "macs"), sample=None)
    table = run(tmp_path, Labour(workers=2), counts)
    assert len(table) == 2 * nasbench201.SPACE_SIZE


def test_an_aggregate_says_among_how_many_it_ranked(whole):
    among = whole.groupby("proxy", observed=True)["among"].unique().map(list).to_dict()
    assert among["rank_sum(grad_norm+params)"] == [40]
    assert among["params"] != [40]


def test_a_smaller_sample_is_part_of_a_larger_one_whatever_the_weights(tmp_path, whole):
    part = run(tmp_path, settings=Scoring(space=SETTINGS.space, proxies=("params",), sample=10, seed=3))
    assert set(part["architecture_id"]) < set(whole["architecture_id"])
    other = run(tmp_path, settings=Scoring(space=SETTINGS.space, proxies=("params",), sample=10, sample_seed=3))
    assert not set(part["architecture_id"]) <= set(other["architecture_id"])


def parts_of(out: Path) -> Path:
    """The folder of parts of a shard that waits for others."""
    assert run(out, Labour(workers=1, shard=(1, 2))).empty
    (folder,) = (out / "scores").iterdir()
    return folder


@pytest.mark.slow
def test_a_damaged_part_is_read_again_and_a_strange_file_left_alone(tmp_path, whole):
    folder = parts_of(tmp_path)
    damaged = min(folder.glob("0*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-20])
    (folder / "mine.parquet").write_bytes(b"PAR1")
    pd.testing.assert_frame_equal(run(tmp_path), whole)


def test_images_that_the_set_does_not_have_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="a batch of 5000 images was asked for, but digits has "):
        run(tmp_path, settings=Scoring(space=SETTINGS.space, proxies=("naswot",), sample=2, images=5000))


def test_of_fewer_images_than_are_usual_all_are_taken(tmp_path):
    few = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    labels: dict[str, Any] = {"one": np.arange(60) % 2, "several": np.eye(3, dtype=np.int64)[np.arange(60) % 3]}
    labels["number"] = np.arange(60, dtype=np.float32) / 60
    for name, task in (("one", "classification"), ("several", "multi-label"), ("number", "regression")):
        parts: dict[str, Any] = {
            "x_train": few[:40],
            "y_train": labels[name][:40],
            "x_test": few[40:],
            "y_test": labels[name][40:],
        }
        np.savez(tmp_path / f"{name}.npz", **parts)
        data = f"arrays:{tmp_path / name}.npz"
        settings = Scoring(space="tests.tiny:SPACE", proxies=("naswot",), sample=2, data=data, task=task)
        frame = run(tmp_path / name, settings=settings)
        assert set(frame["images"]) == {36}  # a tenth is held out for validation
        assert frame["score"].notna().all()
        with pytest.raises(ConfigError, match=r"a batch of 64 images was asked for, but .* has 36"):
            run(tmp_path / name, settings=dataclasses.replace(settings, images=64))


def test_a_large_set_is_streamed_as_by_a_search(tmp_path, monkeypatch):
    top = tmp_path / "photos"
    fill(top, ("ant", "bee"), 20)
    data = f"folder:{top}"
    settings = Scoring(space="tests.tiny:SPACE", proxies=("params",), sample=2, data=data, resolution=16)
    loaded, load = [], sets.load_data

    def note(spec, *rest, **more):
        loaded.append(spec)
        return load(spec, *rest, **more)

    monkeypatch.setattr(sets, "load_data", note)
    decoded = run(tmp_path / "decoded", settings=settings)
    monkeypatch.setattr(sets, "RESIDENT_BYTES", 1)
    pd.testing.assert_frame_equal(run(tmp_path / "streamed", settings=settings), decoded)
    assert [one.loading for one in loaded] == ["auto", "stream"]


def test_a_space_that_has_no_end_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "load_data", lambda *_, **__: pytest.fail("images are read"))
    whole = Scoring(space="search_spaces.mobile:SPACE", proxies=("params",), sample=None)
    with pytest.raises(ConfigError, match=r"has [0-9.]+e\+\d+ architectures, and at most 500,000 .* give --sample"):
        run(tmp_path, settings=whole)


def test_students_are_scored_at_the_size_that_is_asked_for(tmp_path):
    plain = Scoring(space="search_spaces.mobile:SPACE", proxies=("macs",), sample=2)
    small, large = (run(tmp_path, settings=dataclasses.replace(plain, resolution=size)) for size in (8, 32))
    assert (large["macs"] > 1.5 * small["macs"]).all()
    assert plain.digest("x") != dataclasses.replace(plain, resolution=32).digest("x")


def test_a_trained_teacher_must_bring_its_weights(tmp_path):
    settings = Scoring(space=SETTINGS.space, proxies=("diswot_relation",), sample=2, proxy_teacher="trained")
    with pytest.raises(ConfigError, match="'resnet56' brings no weights, and a trained teacher was asked for"):
        run(tmp_path, settings=settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"a share of 0\.5 GPUs was asked for and this machine has none"):
        run(tmp_path, Labour(workers=1, gpus=0.5))


@pytest.mark.ray
def test_more_workers_than_processors_and_no_gpu(tmp_path, whole):
    pd.testing.assert_frame_equal(run(tmp_path, Labour(workers=64)), whole)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="a worker asks for 1 CPU and 1 GPU, but Ray has"):
            run(tmp_path / "gpu", Labour(workers=2, gpus=1.0))


KILLED = """
import sys
from pathlib import Path
from automl_kd.experiment.stages import scoring
from tests.experiment.stages.test_scoring import ALONE, SETTINGS, Silent, score_space

scoring.BATCH = 4
out = Path(sys.argv[1])
score_space(SETTINGS, ALONE, out=out, data_root=out, watcher=Silent())
"""


@pytest.mark.slow
def test_killed_it_continues_and_ends_with_the_same_table(tmp_path, whole):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)])
    while process.poll() is None and len(list(tmp_path.glob("scores/parts-*/0*.parquet"))) < 3:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert list(tmp_path.glob("scores/parts-*/0*.parquet"))
    pd.testing.assert_frame_equal(run(tmp_path), whole)
