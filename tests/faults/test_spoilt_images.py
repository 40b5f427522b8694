"""Images that are lost while a trial streams them: it fails with a sentence that names them, and others go on."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from automl_kd.cluster.failures import failure_kind_of
from automl_kd.config import Resources
from automl_kd.data import load_data
from automl_kd.errors import DataError
from automl_kd.methods import run_trial
from automl_kd.spec import TrialSpec
from tests import tiny
from tests.cluster.test_failures import carried_out
from tests.conformance.trials import quick
from tests.data.encoded import forms
from tests.training.streamed_batches import RECIPE, photographs, spec_of

__all__ = ["quick"]

LONG = replace(RECIPE, epochs=8, mixup=0.0, cutmix=0.0)
"""More batches than are decoded ahead."""

WAYS = {
    "a file that vanishes": ("folder", "train/ant/0-000.jpg", 0, "0-000.jpg cannot be read: No such file or directory"),
    "a file cut off": ("folder", "train/bee/1-001.jpg", 200, "1-001.jpg could not be decoded as an image; replace or"),
    "a shard that vanishes": ("shards", "set-train-000000.tar", 0, "set-train-000000.tar cannot be read: No such file"),
    "a shard that lost its end": ("shards", "set-train-000001.tar", 9000, "set-train-000001.tar ends before the image"),
    "a pack that lost its end": ("pack", "images.bin", 9000, "images.bin ends before the image at byte"),
}


@pytest.fixture
def no_helper(tmp_path, monkeypatch):
    """Helpers are sought in a folder that others may enter, and are not trusted there."""
    folder = tmp_path / "temp" / f"automl_kd-{os.getuid()}"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))


def written(form: str, top: Path) -> str:
    given = photographs()
    if form == "shards":
        return forms.write_shards(top / "set", given)
    folder = forms.write_folder(top / ("set" if form == "folder" else "files"), given, "jpg")
    return folder if form == "folder" else forms.write_packed(top / "set", folder)


def spoilt_trial(way: str, top: Path) -> TrialSpec:
    form, name, keep, _ = WAYS[way]
    data = spec_of(written(form, top))
    options = {"path": str(top / "set" / name), "keep": keep}
    assert (top / "set" / name).stat().st_size > keep
    return tiny.spec(method="tests.faults.spoiling:Spoilt", options=options, data=data, recipe=LONG)


@pytest.mark.usefixtures("quick", "no_helper")
@pytest.mark.parametrize("way", WAYS)
def test_what_is_lost_in_training_is_named(tmp_path, way):
    spec, recorder = spoilt_trial(way, tmp_path), tiny.Recorder()
    with pytest.raises(DataError, match=WAYS[way][-1]) as caught:
        run_trial(spec, recorder, tiny.place(tmp_path, spec))
    assert "\n" not in str(caught.value)
    assert failure_kind_of(caught.value) == "data"
    assert recorder.seen


@pytest.mark.ray
@pytest.mark.slow
def test_one_trial_fails_and_the_others_go_on(ray_session, tmp_path, capfd):
    lost = spoilt_trial("a file that vanishes", tmp_path / "one")
    others = [
        replace(lost, options={}, seed=seed, data=spec_of(written("shards", tmp_path / "two"))) for seed in (1, 2)
    ]
    found = carried_out(tmp_path, [others[0], lost, others[1]], Resources(device="cpu", max_concurrent=2, retries=3))
    outcome, curve, _ = found[lost.key]
    assert (outcome.status, outcome.failure_kind) == ("failed", "data")
    assert "0-000.jpg cannot be read: No such file or directory; bring it back" in outcome.error
    assert curve
    for other in others:
        outcome, curve, _ = found[other.key]
        assert (outcome.status, outcome.error, len(curve)) == ("complete", "", LONG.epochs)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.usefixtures("no_helper")
def test_what_is_skipped_streams_as_the_set_without_it(tmp_path):
    name = written("folder", tmp_path)
    lost = [tmp_path / "set" / part for part in ("train/ant/0-000.jpg", "val/bee/1-001.jpg", "test/ant/0-002.jpg")]
    whole = [file.read_bytes() for file in lost]
    lost[0].write_bytes(whole[0][:200])
    lost[1].write_bytes(b"")
    lost[2].write_bytes(b"text")
    spec = replace(spec_of(name), on_error="skip")
    found = load_data(spec, tmp_path)
    assert found.passed_over == {"images that cannot be read": 3}
    assert "0-000.jpg" in found.note
    for file in lost:
        file.unlink()
    expected = load_data(replace(spec, on_error="fail"), tmp_path)
    for part, split in expected.splits.items():
        other = found.splits[part]
        assert split.labels.tolist() == other.labels.tolist()
        assert split.index.tolist() == other.index.tolist()
        rows = split.index.argsort()
        assert (split.pixels_at(rows) == other.pixels_at(rows)).all()
