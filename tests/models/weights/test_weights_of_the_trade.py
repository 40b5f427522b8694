"""Weights as training scripts save them: what is loaded, what is said of it, and what is refused in which words."""

from __future__ import annotations

import argparse
import os
import re
import zipfile
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from automl_kd.errors import CheckpointError
from automl_kd.models.weights.checkpoint import digest_file, load_weights, save_weights


def network(outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(outputs))


def built(outputs: int = 3) -> nn.Sequential:
    model = network(outputs)
    model(torch.rand(2, 1, 5, 5))
    return model


MODEL = built()
STATE = MODEL.state_dict()


def prefixed(prefix: str, state=STATE) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


def scaled(factor: float) -> dict[str, torch.Tensor]:
    return {name: value * factor if value.is_floating_point() else value for name, value in STATE.items()}


def loaded(content: object, path: Path, weights: str = "", **options) -> tuple[nn.Module, str]:
    torch.save(content, path, **options)
    model = built()
    told = load_weights(model, path, weights)
    assert told == "" or told.startswith(f"{path}: ")
    return model, told.removeprefix(f"{path}: ")


def same(model: nn.Module, state=STATE) -> bool:
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@dataclass
class Options:
    """Of no library that a reader of the file has."""

    rate: float = 0.1


class ConfigDict(dict[str, object]):
    """A dictionary of its own class, as configurations are."""


class FewLabels(nn.Module):
    """As Lightning holds it: the network, and what it is trained with."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.criterion = MODEL, nn.CrossEntropyLoss(weight=torch.ones(3))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (STATE, ""),
        (MODEL.eval().state_dict(), ""),
        (prefixed("module."), "'module.' before their names is dropped"),
        (nn.DataParallel(MODEL).state_dict(), "'module.' before their names is dropped"),
        (prefixed("_orig_mod."), "'_orig_mod.' before their names is dropped"),
        (prefixed("module._orig_mod."), "'module._orig_mod.' before their names is dropped"),
        (prefixed("model.module."), "the weights are 'model'; 'model.module.' before their names is dropped"),
        ({name.replace("1.", "1.module."): value for name, value in STATE.items()}, "'module.' before .*"),
        (
            AveragedModel(MODEL).state_dict(),
            r"'module.' before their names is dropped; 1 other entries are left aside \(n_averaged\)",
        ),
        (
            {"epoch": 1, "state_dict": FewLabels().state_dict(), "hyper_parameters": {"lr": 0.1}},
            "the weights are 'state_dict.model'; 'model.' before their names is dropped; "
            r"1 other entries are left aside \(criterion.weight\)",
        ),
        ({"state_dict": STATE, "epoch": 240, "optimizer": {"lr": 0.1}}, "the weights are 'state_dict'"),
        ({"model_state_dict": STATE, "epoch": 3, "loss": torch.ones(())}, "the weights are 'model_state_dict'"),
        ({"net": prefixed("module."), "acc": 90.1}, "the weights are 'net'; 'module.' before .*"),
        ({"run": {"best": {"weights": STATE}}}, "the weights are 'run.best.weights'"),
        (
            {**STATE, "total_ops": torch.zeros(1), "1.total_params": torch.zeros(1)},
            r"2 other entries are left aside \(total_ops, 1.total_params\)",
        ),
        (
            {name: value for name, value in STATE.items() if "num_batches" not in name},
            "1 counts of batches, which it lacks, stay at 0",
        ),
        ({"model": STATE, "args": argparse.Namespace(lr=0.1)}, "the weights are 'model'"),
        ({"model": STATE, "best_acc": np.float64(70.1), "curve": np.arange(3)}, "the weights are 'model'"),
        ({"model": STATE, "options": Options(), "root": Path("here")}, "the weights are 'model'"),
        ({"model": STATE, "meters": defaultdict(list, loss=[1.0])}, "the weights are 'model'"),
        (ConfigDict(model=ConfigDict(STATE)), "the weights are 'model'"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_training_scripts_write(tmp_path, content, told, zipped):
    model, said = loaded(content, tmp_path / "weights.pt", _use_new_zipfile_serialization=zipped)
    assert same(model)
    assert re.fullmatch(told, said)


def test_half_precision_is_widened(tmp_path):
    half = {name: value.half() if value.is_floating_point() else value for name, value in STATE.items()}
    model, told = loaded(half, tmp_path / "weights.pt")
    assert same(model, {name: value.float() if value.is_floating_point() else value for name, value in half.items()})
    assert told == "float16 is widened"
    assert all(one.dtype == torch.float32 for one in model.parameters())


def test_a_file_of_safetensors(tmp_path):
    save_file(prefixed("module."), tmp_path / "weights.bin")  # known by what it holds, not by its name
    model = built()
    assert load_weights(model, tmp_path / "weights.bin").endswith(": 'module.' before their names is dropped")
    assert same(model)
    whole = (tmp_path / "weights.bin").read_bytes()
    (tmp_path / "weights.bin").write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match=r"weights.bin is damaged \(.*\); save it again"):
        load_weights(built(), tmp_path / "weights.bin")


class TestOfTwoSets:
    BOTH: ClassVar = {"state_dict_ema": prefixed("module.", scaled(0.5)), "state_dict": STATE, "version": 2}

    def test_the_one_that_is_no_average_is_taken_and_the_other_named(self, tmp_path):
        model, told = loaded(self.BOTH, tmp_path / "weights.pt")
        assert same(model)
        assert told == (
            "the weights are 'state_dict' and not 'state_dict_ema', which teacher.weights = 'state_dict_ema' takes"
        )

    @pytest.mark.parametrize("asked", ["ema", "EMA", "state_dict_ema"])
    def test_an_option_asks_for_the_other(self, tmp_path, asked):
        model, told = loaded(self.BOTH, tmp_path / "weights.pt", asked)
        assert same(model, scaled(0.5))
        assert told.startswith("the weights are 'state_dict_ema' and not 'state_dict', which teacher.weights =")

    def test_a_name_is_preferred_to_a_word(self, tmp_path):
        content = {"model_ema": scaled(0.5), "model": STATE}
        assert same(loaded(content, tmp_path / "weights.pt", "model")[0])

    def test_both_in_one_state_dict_under_two_prefixes(self, tmp_path):
        content = {"state_dict": prefixed("ema_model.", scaled(0.5)) | prefixed("model.")}
        assert same(loaded(content, tmp_path / "weights.pt")[0])
        assert same(loaded(content, tmp_path / "weights.pt", "ema")[0], scaled(0.5))

    def test_one_that_does_not_fit_is_no_choice(self, tmp_path):
        content = {"student": built(5).state_dict(), "teacher": STATE}
        model, told = loaded(content, tmp_path / "weights.pt")
        assert same(model)
        assert told == "the weights are 'teacher'"

    def test_what_is_not_there_is_refused_with_what_is(self, tmp_path):
        with pytest.raises(CheckpointError, match="holds no weights 'emma' for this network, only 'state_dict_ema', "):
            loaded(self.BOTH, tmp_path / "weights.pt", "emma")


class Versioned(nn.Module):
    """Refuses what has no version, and knows the name that its first version gave its layer."""

    _version = 2

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def _load_from_state_dict(self, state, prefix, metadata, *others):
        if metadata.get("version") not in {1, 2}:
            raise ValueError("no version")
        if metadata["version"] == 1:
            for name in ("weight", "bias"):
                state[f"{prefix}layer.{name}"] = state.pop(f"{prefix}linear.{name}")
        super()._load_from_state_dict(state, prefix, metadata, *others)


class TestVersions:
    def test_what_we_save_ourselves_is_loaded(self, tmp_path):
        saved, model = Versioned(), Versioned()
        save_weights(saved, tmp_path / "weights.pt")
        assert load_weights(model, tmp_path / "weights.pt") == ""
        assert torch.equal(saved.layer.weight, model.layer.weight)

    @pytest.mark.parametrize("by_hand", [False, True])
    @pytest.mark.parametrize("wrap", [nn.DataParallel, nn.Identity])
    def test_a_prefix_and_its_absence_keep_them(self, tmp_path, wrap, by_hand):
        saved, model = Versioned(), Versioned()
        state = wrap(saved).state_dict() if wrap is nn.DataParallel else dict(saved.state_dict())
        if by_hand:  # the versions stay under the old paths, where that of the wrapper, 1, is the first
            for name in list(state):
                state[name.removeprefix("module.")] = state.pop(name)
        torch.save(state, tmp_path / "weights.pt")
        load_weights(model, tmp_path / "weights.pt")
        assert torch.equal(saved.layer.weight, model.layer.weight)

    def test_the_network_converts_what_its_first_version_saved(self, tmp_path):
        model, first = Versioned(), OrderedDict({"linear.weight": torch.ones(2, 2), "linear.bias": torch.ones(2)})
        first._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]  # as state_dict leaves it
        torch.save(first, tmp_path / "weights.pt")
        assert "of an earlier version of the network" in load_weights(model, tmp_path / "weights.pt")
        assert torch.equal(model.layer.weight, torch.ones(2, 2))


def test_a_network_wrapped_by_its_function_takes_bare_weights(tmp_path):
    save_weights(MODEL, tmp_path / "weights.pt")
    wrapped = nn.ModuleDict({"net": built()})
    load_weights(wrapped, tmp_path / "weights.pt")
    assert same(wrapped["net"])


def test_a_part_that_looks_like_the_network_is_not_taken_for_it(tmp_path):
    save_weights(nn.Sequential(OrderedDict(first=nn.Linear(2, 2), second=nn.Linear(2, 2))), tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=r"of another network: 2 keys missing .*, 4 keys unexpected"):
        load_weights(nn.Linear(2, 2), tmp_path / "weights.pt")


def whole_value(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**STATE, name: value}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            scaled(float("nan")),
            r"values that are not finite \(NaN or infinite\) in 8 of 9 tensors \(0.weight, 0.bias, ",
        ),
        (
            whole_value("4.bias", torch.tensor([0, torch.inf, 0])),
            r"in 1 of 9 tensors \(4.bias\): its training diverged",
        ),
        (
            whole_value("4.weight", STATE["4.weight"].to_sparse()),
            r"1 tensors that are sparse .* \(4.weight\); save dense",
        ),
        (whole_value("4.weight", STATE["4.weight"].to("meta")), r"1 tensors that are without values .* \(4.weight\)"),
        (
            whole_value("4.weight", STATE["4.weight"].int()),
            r"of type torch.int32 \(4.weight\) where the network has real",
        ),
        (MODEL, "holds a whole object, torch.nn.modules.container.Sequential, which only its own code could build"),
        ({"model": MODEL, "epoch": 1}, "holds a whole object, torch.nn.modules.container.Sequential, "),
        (
            built(5).state_dict(),
            "has 5 classes, the data has 3; say by teacher.classes which of its outputs are",
        ),
    ],
)
def test_what_is_refused(tmp_path, content, sentence):
    torch.save(content, tmp_path / "weights.pt")
    model = built()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load_weights(model, tmp_path / "weights.pt")
    assert str(caught.value).startswith(f"checkpoint {tmp_path / 'weights.pt'} ")
    assert same(model, before)


def test_infinite_values_that_the_network_has_itself_are_a_mask(tmp_path):
    saved, model = nn.Linear(2, 2), nn.Linear(2, 2)
    for one in (saved, model):
        one.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    save_weights(saved, tmp_path / "weights.pt")
    load_weights(model, tmp_path / "weights.pt")
    assert torch.equal(model.weight, saved.weight)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("data.pkl", "constants.pkl", "code/net.py"), r"is a TorchScript program, .* by torch.save\(torch.jit.load\("),
        (
            ("archive_format", "models/model.json"),
            r"is a program of torch.export, .* by torch.save\(torch.export.load\(",
        ),
        (("x_train.npy",), "is an archive without weights of torch; save the network's state_dict by torch.save"),
    ],
)
def test_archives_of_other_kinds_get_a_true_sentence(tmp_path, names, sentence):
    with zipfile.ZipFile(tmp_path / "weights.pt", "w") as archive:
        for name in names:
            archive.writestr(f"weights/{name}", b"")
    with pytest.raises(CheckpointError, match=sentence):
        load_weights(built(), tmp_path / "weights.pt")


def test_a_file_nested_deeper_than_python_recurses_holds_no_weights(tmp_path):
    torch.save({}, tmp_path / "weights.pt")
    with zipfile.ZipFile(tmp_path / "weights.pt") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    depth = 2000
    deep = b"\x80\x02" + b"}X\x01\x00\x00\x00a" * depth + b"}" + b"s" * depth + b"."
    with zipfile.ZipFile(tmp_path / "weights.pt", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, deep if name.endswith("data.pkl") else content)
    with pytest.raises(CheckpointError, match="holds no state_dict; save"):
        load_weights(built(), tmp_path / "weights.pt")


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(
            CheckpointError, match=r"cannot be read \(it is a (pipe|folder), not a file\); check the path"
        ):
            digest_file(path)
        with pytest.raises(CheckpointError, match="no checkpoint file"):
            load_weights(built(), path)
