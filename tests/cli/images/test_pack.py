"""`automl-kd pack`: what it says, and what it refuses."""

from __future__ import annotations

import pytest

from automl_kd.data import load_data
from automl_kd.spec import DataSpec
from tests.data.encoded import forms


@pytest.fixture
def photos(tmp_path) -> str:
    return forms.write_folder(tmp_path / "photos", forms.samples(count=2)).replace(f"{tmp_path}/", "")


def test_a_pack_is_made_once_and_read(run, tmp_path, photos):
    code, out, _ = run("pack", photos, "small pack", "--progress", "lines")
    assert code == 0
    assert "small pack holds 40 images in" in out
    assert out.endswith('set data.name = "pack:small pack"\n')
    found = load_data(DataSpec(name=f"pack:{tmp_path}/small pack"), tmp_path)
    assert (len(found.train), len(found.validation), len(found.test)) == (20, 8, 12)
    assert run("pack", photos, "small pack", "--progress", "none").out == out


def test_arrays_and_flawed_images(run, tmp_path, photos):
    forms.write_arrays(tmp_path / "set.npz", forms.samples())
    assert "holds 20 images" in run("pack", "arrays:set.npz", "a", "--progress", "none").out
    (tmp_path / "photos" / "train" / "ant" / "0-00.png").write_bytes(b"")
    code, _, err = run("pack", photos, "b", "--progress", "none")
    assert (code, err.count("\n")) == (2, 1)
    assert "0-00.png is empty; replace or remove it, or pack with --skip-errors" in err
    assert not (tmp_path / "b").exists()
    said = run("pack", photos, "b", "--skip-errors", "--progress", "none").out
    assert "b holds 39 images in" in said
    assert "and 1 were left out as they cannot be read" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("digits", "out"), "'digits' is no set of files; give one of folder:PATH, shards:PATH"),
        (("folder:missing", "out"), "no folder "),
        (("folder:photos", "s3://bucket/out"), "s3://bucket/out is no folder of this machine"),
        (("folder:photos", "photos"), "photos holds something else than a pack"),
        (("folder:photos", "out", "--quality", "101"), "should be less than or equal to 100"),
        (("pack:photos", "out"), "photos is no pack, it has no pack.json"),
    ],
)
@pytest.mark.usefixtures("photos")
def test_what_cannot_be_packed_is_one_sentence(refused, arguments, sentence):
    assert sentence in refused("pack", *arguments, "--progress", "none")
