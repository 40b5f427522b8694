"""Streamed batches are equal bit for bit, whatever holds the images, decodes them, shares them or breaks off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from automl_kd.data import account_of, load_data
from automl_kd.data.stream.reader import ViewReader
from automl_kd.data.stream.render import RowNumbers
from automl_kd.spec import Recipe
from automl_kd.training import training_run
from tests import ROOT, tiny
from tests.conformance.trials import difference, left_by
from tests.data.encoded import forms
from tests.training.streamed_batches import (
    RECIPE,
    REPEATED,
    batches,
    contents,
    digests,
    parts_of_workers,
    photographs,
    pixmaps,
    run_of,
    spec_of,
)

pytestmark = pytest.mark.xdist_group("decoding helper")  # one worker, so that one helper serves

KILLED_AT = 6
"""The number of the batch, counted from 1, in which a process is killed: inside the second epoch of four steps."""


AT_ONCE = """
import json, sys
from pathlib import Path
from tests.training.streamed_batches import digests, run_of

run = run_of(sys.argv[1], Path(sys.argv[2]))
found = digests(run)
helpers = {one.source.process for one in run.dataset.train.streamed.readers.values() if one.source}
print(json.dumps({"digests": found, "helpers": [*helpers]}))
"""

KILLED = """
import os, signal, sys
from pathlib import Path

from automl_kd.methods import run_trial
from automl_kd.spec import TrialPaths, TrialSpec
from automl_kd.training.training_run import TrainingRun
from tests import tiny
from tests.training.streamed_batches import digest

root, trial, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[4])
real, made = TrainingRun.batch, []

def batch(run, *which):
    made.append(digest(found := real(run, *which)))
    with open(f"{trial} batches", "a") as file:
        print(made[-1], file=file)
    if len(made) == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return found

TrainingRun.batch = batch
paths = TrialPaths(trial=trial, teachers=root / "teachers", data=root, checkpoint_minutes=1e-9)
run_trial(TrialSpec.from_json(sys.argv[3]), tiny.Recorder(), paths)
"""


def one_thread() -> dict[str, str]:
    """The environment of a process that finds the helper of this one."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module", autouse=True)
def temp(tmp_path_factory) -> Iterator[Path]:
    """Where helpers are found, of these processes and of those that they start; short, as a socket's path must be."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("kd")
        patch.setattr(tempfile, "tempdir", str(folder))
        patch.setenv("TMPDIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("root")
    return path


@pytest.fixture(scope="module")
def named(tmp_path_factory) -> dict[str, str]:
    """Photographs in all forms for files, and images of one size in a folder and in arrays."""
    top = tmp_path_factory.mktemp("sets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forms, "CLASSES", ("0", "1"))  # as those of arrays are called
        given, equal = photographs(), pixmaps()
        folder = forms.write_folder(top / "folder", given, "jpg")
        return {
            "folder": folder,
            "shards": forms.write_shards(top / "shards", given),
            "parquet": forms.write_parquet(top / "parquet", given),
            "pack": forms.write_packed(top / "pack", folder),
            "pixmaps": forms.write_folder(top / "pixmaps", equal, "ppm"),
            "arrays": forms.write_arrays(top / "set.npz", equal),
        }


@pytest.fixture(scope="module")
def expected(named, root) -> Callable[..., list[str]]:
    """Digests of all batches of a set, each image decoded on the spot when it is asked for."""
    known: dict[tuple[str, Recipe], list[str]] = {}

    def find(form: str, recipe: Recipe = RECIPE) -> list[str]:
        if (form, recipe) not in known:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(training_run, "follow_epochs", lambda *_, **__: None)
                known[form, recipe] = digests(run_of(named[form], root, recipe, threads=1))
        return known[form, recipe]

    return find


def test_all_batches_differ_and_are_mixed(named, root, expected):
    assert len(set(expected("folder"))) == 8  # two epochs of three whole batches and a rest of two
    found = list(batches(run_of(named["folder"], root)))
    assert {len(batch) for batch in found} == {16, 2}
    assert all(batch.second_labels is not None and 0 <= batch.share <= 1 for batch in found)


@pytest.mark.parametrize("form", ["folder", "shards", "parquet", "pack"])
def test_they_do_not_depend_on_what_holds_the_images(named, root, expected, form):
    assert digests(run_of(named[form], root)) == expected("folder")


def test_arrays_are_as_files_of_the_same_pixels(named, root, expected):
    assert digests(run_of(named["arrays"], root)) == digests(run_of(named["pixmaps"], root)) == expected("pixmaps")


@pytest.mark.parametrize("forms_of_one", [("folder", "shards", "parquet", "pack"), ("pixmaps", "arrays")])
def test_the_digest_and_the_key_of_a_trial_are_one(named, root, forms_of_one):
    found = set()
    for form in forms_of_one:
        data = spec_of(named[form])
        account = account_of(load_data(data, root), root)["digest"]
        found.add((account, tiny.spec(data=replace(data, digest=account)).key))
    assert len(found) == 1


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 4])  # 0, all cores but one, is what the other tests have
def test_they_do_not_depend_on_the_threads(named, root, expected, threads):
    assert digests(run_of(named["shards"], root, shared=False, threads=threads)) == expected("folder")


@pytest.mark.parametrize("recipe", [RECIPE, REPEATED, replace(REPEATED, augment="none")], ids=["one", "two", "middle"])
def test_no_image_is_decoded_by_the_trial_itself(named, root, expected, monkeypatch, recipe):
    real, own = ViewReader.decode_here, []

    def decode_here(reader: ViewReader, rows: RowNumbers, places: list[int], *more: Any, **epoch: Any) -> None:
        own.extend(places)
        real(reader, rows, places, *more, **epoch)

    run = run_of(named["folder"], root, recipe)
    monkeypatch.setattr(ViewReader, "decode_here", decode_here)
    found = digests(run)
    assert not own
    assert found == expected("folder", recipe)


def test_views_of_an_image_in_one_batch_differ(named, root):
    run = run_of(named["folder"], root, replace(REPEATED, mixup=0.0, jitter=0.0))
    for batch in batches(run):
        for index in batch.index.unique():
            first, *others = batch.inputs[batch.index == index]
            assert all(not torch.equal(first, other) for other in others)
    assert batch.index.unique().numel() < len(batch)


@pytest.mark.slow
def test_four_trials_at_once_get_them_from_one_process(named, root, expected):
    commands = [
        [sys.executable, "-c", AT_ONCE, named[form], str(root)] for form in ("folder", "shards", "pack", "pack")
    ]
    started = [subprocess.Popen(command, cwd=ROOT, env=one_thread(), stdout=subprocess.PIPE) for command in commands]
    found = [json.loads(one.communicate()[0]) for one in started]
    assert [one["digests"] for one in found] == [expected("folder")] * 4
    assert len({process for one in found for process in one["helpers"]}) == 1


@pytest.mark.slow
def test_the_parts_of_four_workers_are_together_the_batch(named, root, tmp_path):
    workers = 4
    parts_of_workers(named["folder"], tmp_path, workers)
    for which, recipe in (("plain", RECIPE), ("repeated", REPEATED)):
        whole = [contents(batch) for batch in batches(run_of(named["folder"], root, recipe))]
        parts = [torch.load(tmp_path / f"{which} {rank}.pt") for rank in range(workers)]
        for batch, *own in zip(whole, *parts, strict=True):
            if len(batch["labels"]) == 2:  # too few to divide: all workers have both
                assert not any(difference(batch, one) for one in own)
                continue
            for name, tensor in batch.items():
                assert torch.equal(torch.cat([one[name] for one in own]), tensor), name


@pytest.mark.slow
def test_killed_inside_an_epoch_a_trial_goes_on_with_the_next_batch(named, root, tmp_path):
    spec = tiny.spec(method="scratch", data=spec_of(named["shards"]), recipe=RECIPE)
    for folder, last in (("whole", 0), ("killed", KILLED_AT), ("killed", 0)):
        command = [sys.executable, "-c", KILLED, str(root), str(tmp_path / folder), spec.to_json(), str(last)]
        ended = subprocess.run(command, cwd=ROOT, env=one_thread(), check=False).returncode
        assert ended == (-signal.SIGKILL if last else 0)
    whole, killed = ((tmp_path / f"{folder} batches").read_text().splitlines() for folder in ("whole", "killed"))
    assert len(whole) == 8
    assert killed == [*whole[:KILLED_AT], *whole[KILLED_AT - 1 :]]  # that which it was killed with is made again
    left = [left_by(tmp_path / folder) for folder in ("whole", "killed")]
    assert not difference(left[0]["student.pt"], left[1]["student.pt"])
