"""What is measured once is not measured again, by this process or another, as long as the files are the same."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from automl_kd import files
from automl_kd.data import account, account_of, division, load_data
from automl_kd.data.images import decode
from automl_kd.data.kept import alone, ground, recall
from automl_kd.spec import DataSpec
from tests.data.pictures import fill, noise


@pytest.fixture
def large(tmp_path, monkeypatch) -> DataSpec:
    """A set that counts as large."""
    fill(tmp_path / "set")
    monkeypatch.setattr(division, "KEPT_FROM", 1000)
    monkeypatch.setattr(decode, "KEPT_FROM", 1000)
    return DataSpec(name=f"folder:{tmp_path / 'set'}")


@pytest.fixture
def work(monkeypatch) -> list[str]:
    """What was done anew: statistics, digest, an image decoded."""
    done: list[str] = []

    def counted(module, name):
        inner = getattr(module, name)

        def count(*arguments, **options):
            done.append(name)
            return inner(*arguments, **options)

        monkeypatch.setattr(module, name, count)

    counted(division, "moments_of")
    counted(account, "digest_dataset")
    counted(decode, "decode")
    return done


def measured(spec: DataSpec, root: Path) -> object:
    found = load_data(spec, root)
    return found.mean, found.std, found.train.inputs.sum().item(), account_of(found, root)


def test_a_large_set_is_measured_once(tmp_path, large, work):
    first = measured(large, tmp_path / "root")
    assert {name: work.count(name) for name in set(work)} == {"moments_of": 1, "digest_dataset": 1, "decode": 20}
    work.clear()
    assert measured(large, tmp_path / "root") == first
    assert "moments_of" not in work
    assert "digest_dataset" not in work
    assert work.count("decode") == 2 + 4  # validation and test images are few enough to be decoded again


@pytest.mark.parametrize("change", ["pixels", "names", "labels", "division"])
def test_another_set_is_measured_anew(tmp_path, large, work, change):
    root, top = tmp_path / "root", tmp_path / "set"
    measured(large, root)
    work.clear()
    file = top / "ant" / "0.png"
    if change == "pixels":  # of the same size and date
        size, status = file.stat().st_size, file.stat()
        noise().save(file)
        os.truncate(file, max(size, file.stat().st_size))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "names":
        file.rename(file.with_name("zero.png"))
    elif change == "labels":
        file.rename(top / "bee" / "zero.png")
    measured(DataSpec(name=large.name, split_seed=int(change == "division")), root)
    assert work.count("digest_dataset") == work.count("moments_of") == 1


def test_many_images_are_decoded_once_however_small(tmp_path, monkeypatch, work):
    fill(tmp_path / "set")
    monkeypatch.setattr(decode, "MANY", 10)
    for _ in range(2):
        load_data(DataSpec(name=f"folder:{tmp_path / 'set'}"), tmp_path / "root")
    assert work.count("decode") == 20 + 2 + 4


def test_a_small_set_leaves_nothing(tmp_path):
    fill(tmp_path / "set")
    measured(DataSpec(name=f"folder:{tmp_path / 'set'}"), tmp_path / "root")
    measured(DataSpec(), tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_what_is_damaged_or_cannot_be_kept_is_made_again(tmp_path, monkeypatch):
    made = iter(range(9))

    def make() -> dict[str, int]:
        return {"n": next(made)}

    assert recall(tmp_path, "stamp", "what", make) == recall(tmp_path, "stamp", "what", make) == {"n": 0}
    for content in ("", "[]", "{"):
        (tmp_path / ".measured" / "stamp.what.json").write_text(content)
        assert recall(tmp_path, "stamp", "what", make)["n"] > 0
    assert recall(None, "stamp", "what", make) == {"n": 4}
    assert recall(tmp_path, "", "what", make) == {"n": 5}

    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write", full)
    assert recall(tmp_path, "other", "what", make) == {"n": 6}


def test_a_root_that_may_not_be_written_to_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "file").touch()
    assert ground(tmp_path / "root" / "below") == tmp_path / "root" / "below"
    assert ground(tmp_path / "file" / "below") == tmp_path / "cache" / "automl_kd" / "data"
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert ground(tmp_path) == tmp_path / "cache" / "automl_kd" / "data"


def test_others_wait_for_who_measures(tmp_path):
    path = tmp_path / ".measured" / "stamp.what.json"
    found: list[object] = []
    other = threading.Thread(target=lambda: found.append(recall(tmp_path, "stamp", "what", lambda: {"by": "another"})))
    with alone(path):
        other.start()
        other.join(0.2)
        assert found == []
        path.write_text('{"by": "us"}')
    other.join()
    assert found == [{"by": "us"}]
