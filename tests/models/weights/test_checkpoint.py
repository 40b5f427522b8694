from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from automl_kd.errors import CheckpointError
from automl_kd.models import build_model
from automl_kd.models.weights.checkpoint import digest_file, load_weights, save_weights
from automl_kd.space import InputShape

TEN, HUNDRED = InputShape(1, 8, 8, 10), InputShape(1, 8, 8, 100)


def network(shape: InputShape = TEN, name: str = "resnet8") -> nn.Module:
    return build_model(name, shape)


def same(one: nn.Module, two: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


def test_round_trip(tmp_path):
    saved, loaded = network(), network()
    save_weights(saved, tmp_path / "new" / "folder" / "weights.pt")
    assert not same(saved, loaded)
    load_weights(loaded, tmp_path / "new" / "folder" / "weights.pt")
    assert same(saved, loaded)
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["weights.pt"]


def test_a_network_with_a_part_called_module_keeps_its_prefix(tmp_path):
    saved, loaded = nn.Sequential(), nn.Sequential()
    saved.add_module("module", nn.Linear(2, 2))
    loaded.add_module("module", nn.Linear(2, 2))
    save_weights(saved, tmp_path / "weights.pt")
    load_weights(loaded, tmp_path / "weights.pt")
    assert same(saved, loaded)


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint file .*absent\.pt; check the path"):
        load_weights(network(), tmp_path / "absent.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        digest_file(tmp_path / "absent.pt")


def test_damaged_files_never_pass(tmp_path):
    path = tmp_path / "weights.pt"
    save_weights(nn.Linear(2, 2), path)
    whole = path.read_bytes()
    for end in (0, 1, 2, 10, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(CheckpointError, match=r"checkpoint .*weights\.pt"):
            load_weights(nn.Linear(2, 2), path)
    for other in (b"not a checkpoint", b"\x80\x02}q\x00.", bytes(range(256)), b"PK\x03\x04" + bytes(100)):
        path.write_bytes(other)
        with pytest.raises(CheckpointError, match=r"checkpoint .*weights\.pt"):
            load_weights(nn.Linear(2, 2), path)


@pytest.mark.parametrize("zipped", [True, False])
def test_whatever_byte_is_damaged_the_error_is_ours(tmp_path, zipped):
    path, rng = tmp_path / "weights.pt", np.random.default_rng(0)
    torch.save(nn.Linear(2, 2).state_dict(), path, _use_new_zipfile_serialization=zipped)
    whole, refused = path.read_bytes(), 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = int(rng.integers(256))
        path.write_bytes(damaged[: rng.integers(len(whole) // 2, len(whole) + 1)])
        try:
            load_weights(nn.Linear(2, 2), path)
        except CheckpointError:
            refused += 1
    assert refused > 100


class Trap:
    """Would create a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_code_in_a_file_is_run(tmp_path):
    torch.save({"model": Trap(tmp_path / "sprung")}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="is damaged or holds more than tensors"):
        load_weights(network(), tmp_path / "weights.pt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {0: torch.zeros(1)}, [torch.zeros(1)], torch.zeros(1)])
def test_a_file_without_weights(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="holds no state_dict"):
        load_weights(network(), tmp_path / "weights.pt")


def test_another_network_names_the_first_keys_and_counts(tmp_path):
    save_weights(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)), tmp_path / "weights.pt")
    with pytest.raises(CheckpointError) as caught:
        load_weights(nn.ModuleDict({"0": nn.Linear(2, 2), "a": nn.Linear(2, 2)}), tmp_path / "weights.pt")
    assert "2 keys missing (a.weight, a.bias)" in str(caught.value)
    assert "4 keys unexpected (1.weight, 1.bias, 2.weight, ...)" in str(caught.value)


def test_only_missing_keys(tmp_path):
    save_weights(nn.Linear(2, 2, bias=False), tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=r"1 keys missing \(bias\), 0 keys unexpected"):
        load_weights(nn.Linear(2, 2), tmp_path / "weights.pt")


def test_another_number_of_classes(tmp_path):
    save_weights(network(HUNDRED), tmp_path / "weights.pt")
    model = network(TEN)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"weights\.pt has 100 classes, the data has 10;"):
        load_weights(model, tmp_path / "weights.pt")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [
        (nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2)), nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))),
        (network(InputShape(3, 8, 8, 10)), network(TEN)),
        (nn.Linear(3, 2), nn.Linear(2, 2)),
    ],
    ids=["width", "channels", "inputs"],
)
def test_other_shapes_are_not_taken_for_classes(tmp_path, saved, wanted):
    save_weights(saved, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="of another shape") as caught:
        load_weights(wanted, tmp_path / "weights.pt")
    assert "classes" not in str(caught.value)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="could not be written"):
        save_weights(network(), tmp_path / "file" / "weights.pt")


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "weights.pt"
    save_weights(nn.Linear(2, 2), path)
    before = path.read_bytes()

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_weights(nn.Linear(2, 2), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_digest_is_sha256_of_the_content(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"abc")
    assert digest_file(tmp_path / "weights.pt") == hashlib.sha256(b"abc").hexdigest()
