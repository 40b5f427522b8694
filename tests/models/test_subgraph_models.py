"""`subgraph:FILE` as the name of a model: the network that the file describes, in spaces, trials and elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from automl_kd.errors import ConfigError
from automl_kd.methods import run_trial
from automl_kd.methods.model_card import load_trained_student, student_label
from automl_kd.models import build, build_model, load_space, pin_reference
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.pruning.coupling import Coupling, Selection
from automl_kd.models.pruning.description import Description, describe_selection, read_description
from automl_kd.models.pruning.tracing import trace
from automl_kd.space import Architecture, InputShape
from automl_kd.spec import TrialSpec
from tests import tiny

SHAPE = InputShape(1, 8, 8, 3)


def halved(coupling: Coupling) -> Selection:
    """Every other channel, and no block that can be left out."""
    channels = {group.name: tuple(range(0, group.size, 2)) for group in coupling.free}
    return Selection(channels, frozenset(coupling.blocks))


@pytest.fixture
def described() -> Description:
    coupling = trace(build_model("resnet14", SHAPE), SHAPE)
    return describe_selection("resnet14", coupling, halved(coupling))


@pytest.fixture
def file(tmp_path: Path, described: Description) -> Path:
    path = tmp_path / "found" / "subgraph.json"
    path.parent.mkdir()
    path.write_text(described.to_json(), encoding="utf-8")
    return path


def spec_of(space: str) -> TrialSpec:
    return tiny.spec(space=space, architecture=Architecture(()), method="scratch")


def test_the_file_is_a_model_and_a_space_of_one_point(file, described):
    model = build_model(f"subgraph:{file}", SHAPE)
    assert count_cost(model, SHAPE) == described.cost
    space = load_space(f"model:subgraph:{file}")
    one, two = (build(space, Architecture(()), SHAPE, seed=seed).get_parameter("fc.weight") for seed in (0, 1))
    assert one.shape == (3, 32)
    assert not torch.equal(one, two)


def test_its_label_says_what_it_is(file, described):
    # resnet14: stem 16, per stage two blocks of two convolutions of 16, 32, 64, projections of 32 and 64, 3 classes.
    # Kept is the half of the stem, of the two blocks that change the width with their projections, and all classes.
    total = 16 + 4 * (16 + 32 + 64) + 32 + 64 + 3
    assert sum(int(layer["total"]) for layer in described.layers) == total
    kept = sum(int(layer["kept"]) for layer in described.layers)
    label = f"resnet14 subgraph, {round(100 * kept / total)} % of its channels"
    assert load_space(f"model:subgraph:{file}").label(Architecture(())) == described.label == label


def test_the_key_follows_the_content(file, tmp_path):
    copy = tmp_path / "copy.json"
    copy.write_text(file.read_text())
    one, two = (spec_of(pin_reference(f"model:subgraph:{path}")) for path in (file, copy))
    assert one.space != two.space
    assert one.key == two.key
    coupling = trace(build_model("resnet14", SHAPE), SHAPE)
    copy.write_text(describe_selection("resnet14", coupling, coupling.whole).to_json())
    assert spec_of(pin_reference(f"model:subgraph:{copy}")).key != one.key
    with pytest.raises(ConfigError, match=f"^{copy} has changed since it was named in this experiment"):
        load_space(two.space)


@pytest.mark.parametrize("name", ["model:resnet8", "resnet8", "torchvision:resnet18", "my_lab.subgraph:net", "a:b"])
def test_other_references_name_no_file(name):
    assert pin_reference(name) == name


def test_it_is_trained_and_handed_over_without_the_file_it_came_from(file, tmp_path):
    spec = spec_of(pin_reference(f"model:subgraph:{file}"))
    place, recorder = tiny.place(tmp_path, spec), tiny.Recorder()
    run_trial(spec, recorder, place)
    assert recorder.seen[3]["params"] == read_description(file).cost.params
    assert student_label(spec, place.trial) == read_description(file).label
    file.unlink()
    student = load_trained_student(place.trial)
    saved = torch.load(place.trial / "student.pt")
    assert all(torch.equal(value, saved[name]) for name, value in student.state_dict().items())


def test_a_trial_that_cut_its_student_out_of_another_network_says_so(tmp_path, described):
    spec = tiny.spec()
    assert student_label(spec, tmp_path) == "width 4"
    (tmp_path / "subgraph.json").write_text(described.to_json())
    assert student_label(spec, tmp_path) == "resnet14 subgraph"


def test_taps_are_those_of_the_whole_network(file):
    whole, part = build_model("resnet14", SHAPE), build_model(f"subgraph:{file}", SHAPE)
    assert part.feature_layers == whole.feature_layers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "this is no description of a student inside a model"),
        ('{"version": "1"}', "this description of a student has version '1' and 1 was wanted; search it again"),
        ('{"version": 9}', "this description of a student has version 9 and 1 was wanted; search it again"),
    ],
)
def test_a_file_that_is_no_description(tmp_path, text, said):
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"^{path}: {said}"):
        build_model(f"subgraph:{path}", SHAPE)


def test_bytes_and_folders_are_no_descriptions(tmp_path):
    (tmp_path / "bytes.json").write_bytes(np.arange(256, dtype=np.uint8).tobytes())
    for name in ("bytes.json", "none.json", "."):
        with pytest.raises(ConfigError, match=r"^no description of a student could be read from .*; give a subgraph"):
            read_description(tmp_path / name)


def test_layers_that_cannot_be_read_are_refused(described):
    with pytest.raises(ConfigError, match=r"this is no description .*\(KeyError: 'kept'\)"):
        Description.from_json(described.to_json().replace('"kept"', '"stays"'))
