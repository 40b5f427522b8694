"""Results in a bucket: tables, journals, students as on a disk, and a search that another machine continues."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pandas as pd
import pytest
import torch

import automl_kd
from automl_kd import storage
from automl_kd.cluster.tune_searcher import Assignment, from_config, to_config
from automl_kd.data import load_data
from automl_kd.errors import StopTrial, StorageError
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.stages.scoring import Labour, Scoring, score_space
from automl_kd.experiment.stages.search import Journal
from automl_kd.experiment.teacher_settings import settle_teacher
from automl_kd.methods import run_trial
from automl_kd.models import build_model
from automl_kd.models.black_box.file import load_graph
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.results import Point, ResultTable
from automl_kd.results.doctor.doctor import diagnose
from automl_kd.space import Architecture
from automl_kd.spec import DataSpec, TeacherSpec
from tests import ROOT, tiny
from tests.data.encoded import forms
from tests.models.black_box import files
from tests.results.synthetic import row
from tests.storage.conftest import mirrored

KEYS = [letter * 16 for letter in "abc"]


def test_a_table_is_read_on_another_machine_before_and_after_it_is_folded(on_machine, bucket):
    table = ResultTable(on_machine("first") / "one")
    for key in KEYS[:2]:
        table.append(row(key=key, experiment="one"), [Point(epoch=1, val_accuracy=0.5)])
    other = on_machine("second")
    read = automl_kd.read_results(bucket)
    assert list(read.rows["key"]) == KEYS[:2]
    assert list(read.curves["val_accuracy"]) == [0.5, 0.5]
    on_machine("first")
    table.fold()
    table.append(row(key=KEYS[2], experiment="one"))
    on_machine("second")
    assert list(automl_kd.read_results(f"{bucket}/one").rows["key"]) == KEYS
    assert sorted(path.name[:4] for path in (other / "one" / "rows").rglob("*.parquet")) == ["cccc", "part"]


def test_what_is_damaged_in_the_bucket_is_mended_there(on_machine, bucket):
    table = ResultTable(on_machine("first") / "one")
    for key in KEYS[:2]:
        table.append(row(key=key, experiment="one"), [Point(epoch=1, val_accuracy=0.5)])
    broken = next((table.folder / "rows").rglob(f"{KEYS[0]}*"))
    broken.write_bytes(broken.read_bytes()[:-20])
    storage.push(broken)
    for name, faults in (("second", 0), ("third", 0)):
        folder = on_machine(name) / "one"
        assert diagnose(folder, repair=name == "second").faults == faults
        assert list(automl_kd.read_results(f"{bucket}/one").rows["key"]) == KEYS[1:2]
        assert [path.name for path in (folder / "damaged").rglob(f"{KEYS[0]}*.parquet")]


def test_a_journal_is_continued_on_another_machine(on_machine, bucket):
    points = [Architecture.of({"width": width}) for width in (3, 4)]
    for point in points:
        Journal.open(on_machine("first") / "one" / "proposals.jsonl").append(point)
    folder = on_machine("second") / "one"
    storage.pull(folder)
    assert Journal.open(folder / "proposals.jsonl").proposals == points


def test_a_trial_that_moves_to_another_machine_continues_and_is_handed_over_from_a_third(
    on_machine, bucket, tmp_path, monkeypatch
):
    whole, broken, rest = tiny.Recorder(), tiny.Recorder(stop=2), tiny.Recorder()
    spec = tiny.taught(tmp_path, "kd", options={"weight": 0.5})
    run_trial(spec, whole, tiny.place(tmp_path, spec))
    root = on_machine("first")
    spec = tiny.taught(root, "kd", options={"weight": 0.5})
    config = to_config(Assignment(spec=spec, paths=tiny.place(root, spec)))
    monkeypatch.setattr("automl_kd.training.loop.SAVE_SECONDS", -1)
    with pytest.raises(StopTrial):
        run_trial(spec, broken, tiny.place(root, spec))
    on_machine("second")
    moved = from_config(config)
    assert moved.paths != tiny.place(root, spec)
    run_trial(moved.spec, rest, moved.paths)
    losses = [{epoch: seen["train_loss"] for epoch, seen in one.seen.items()} for one in (whole, rest)]
    assert losses[0] == losses[1]
    assert tiny.lines(moved.paths.trial / "student.json") > 1
    on_machine("third")
    students = [
        automl_kd.load_student(folder) for folder in (f"{bucket}/trials/{spec.key}", tmp_path / "trials" / spec.key)
    ]
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(students[0](images), students[1](images))


def test_images_and_weights_of_a_teacher_are_fetched_from_where_an_experiment_names_them(on_machine, bucket, tmp_path):
    import numpy as np

    root = on_machine("first")
    root.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    labels = np.arange(40) % 2
    np.savez(root / "set.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    storage.push(root / "set.npz")
    on_machine("second")
    found = load_data(DataSpec(name=f"arrays:{bucket}/set.npz"), tmp_path)
    assert len(found.test) == 40
    with pytest.raises(StorageError, match=r"there is no bucket 'nobody'"):
        load_data(DataSpec(name="arrays:s3://nobody/set.npz"), tmp_path)


def test_images_in_every_form_are_fetched_once_for_a_machine(on_machine, bucket, tmp_path, monkeypatch):
    given = forms.samples()
    here = on_machine("first")
    for path in ("folder", "shards", "parquet"):
        getattr(forms, f"write_{path}")(here / path, given)
    forms.write_packed(here / "pack", f"folder:{here / 'folder'}")
    for file in here.rglob("*.*"):
        storage.push(file)
    there = on_machine("second")
    expected = load_data(DataSpec(name=f"folder:{bucket}/folder"), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 10}))
        with pytest.raises(StorageError, match=r"s3://bucket/runs/pack has 0.0 GB to fetch, and .* GB free; make room"):
            load_data(DataSpec(name=f"pack:{bucket}/pack"), tmp_path)
        assert not (there / "pack").exists()
    for name in ("shards", "shards/set-train-{000000..000001}.tar", "parquet", "pack"):
        form = name.partition("/")[0]
        found = load_data(DataSpec(name=f"{form}:{bucket}/{name}"), tmp_path)
        assert found.class_names == expected.class_names
        if form == name:
            assert torch.equal(found.train.inputs, expected.train.inputs)
    monkeypatch.setattr(mirrored(there).store, "chunks", None)  # which would raise a TypeError
    load_data(DataSpec(name=f"shards:{bucket}/shards"), tmp_path)


def test_a_teacher_in_a_file_of_the_bucket_counts_by_its_content_on_every_machine(on_machine, bucket, tmp_path):
    network, root = files.trained_net(), on_machine("first")
    onnx.save(
        files.onnx_of(network),
        tmp_path / "net.onnx",
        save_as_external_data=True,
        location="net.onnx.data",
        size_threshold=0,
    )
    for name in ("net.onnx", "net.onnx.data"):
        storage.write(root / name, (tmp_path / name).read_bytes())
    on_machine("second")
    found = settle_teacher(TeacherSpec(model=f"file:{bucket}/net.onnx"))
    assert found.checkpoint == f"{bucket}/net.onnx"
    local = settle_teacher(TeacherSpec(model=f"file:{tmp_path}/net.onnx"))
    assert tiny.spec(method="kd", teacher=found).key == tiny.spec(method="kd", teacher=local).key
    on_machine("third")
    load_graph.cache_clear()
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(
        build_model(found.model, tiny.SHAPE)(images), network(images).detach(), rtol=1e-5, atol=1e-5
    )


def test_scores_of_two_machines_become_one_table(on_machine, bucket, tmp_path):
    scoring = Scoring(space="tests.tiny:SPACE", proxies=("naswot",), sample=12, images=8, data="tests.tiny:source")

    def score(machine: str, shard: tuple[int, int]):
        labour = Labour(workers=1, shard=shard)
        return score_space(scoring, labour, out=on_machine(machine), data_root=tmp_path, watcher=Silent())

    path, nothing = score("first", (1, 2))
    assert nothing is None
    assert path.name.startswith("parts-")
    file, frame = score("second", (2, 2))
    assert frame is not None
    assert len(frame) == 12
    again, same = score("third", (1, 2))
    assert again != file  # another machine's copy
    pd.testing.assert_frame_equal(frame, same)
    assert list(mirrored(on_machine("fourth")).store.find("bucket/runs")) == [f"bucket/runs/scores/{file.name}"]


EXPERIMENT = """
name = "moved"
space = "tests.tiny:SPACE"
method = "tests.tiny:Pretend"
data = {{ name = "tests.tiny:source", validation = 0.2 }}
teacher = {{ model = "tests.tiny:teacher", checkpoint = "{bucket}/teacher.pt" }}
recipe = {{ epochs = 3, batch_size = 16 }}
finalists = {{ seeds = [0], count = 1, readings = ["compute"] }}
trial = {{ device = "cpu", max_concurrent = 2 }}
search = {{ sampler = "random", trials = 2, scheduler = "none" }}
"""


def search(root: Path, machine: str, *arguments: str, out: str) -> str:
    """`automl-kd search` on the machine of that name; what it said on both streams."""
    ran = subprocess.run(
        [sys.executable, "-m", "automl_kd", "search", root / "moved.toml", "--out", out, *arguments],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(root / machine), "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


@pytest.mark.ray
@pytest.mark.long
def test_a_search_goes_on_where_another_machine_ended_it(on_machine, bucket, tmp_path):
    root = on_machine("first")
    torch.manual_seed(0)
    save_weights(tiny.teacher(tiny.SHAPE), root / "teacher.pt")
    (tmp_path / "moved.toml").write_text(EXPERIMENT.format(bucket=bucket), encoding="utf-8")
    said = search(tmp_path, "second", out=bucket)
    assert f"written to {bucket}/moved/leaderboard.html" in said
    assert str(tmp_path / "second") not in said
    before = automl_kd.read_results(f"{bucket}/moved").rows
    assert sorted(before["role"]) == sorted(["search", "search", "teacher", *tiny.ROLES])
    search(tmp_path, "third", "--set", "search.trials=4", out=bucket)
    after = automl_kd.read_results(bucket).rows
    assert sorted(after[after["trial_kind"] == "search"]["proposal"]) == [0, 1, 2, 3]
    assert set(after["status"]) == {"complete"}
    kept = after.merge(before[["trial_kind", "role", "key", "started"]])  # what was recorded is not carried out again
    assert len(kept) >= len(before) - 2  # the found student may be another one by now
    assert (tmp_path / "third" / "automl_kd").exists()
