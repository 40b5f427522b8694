"""Objects on their way to workers: written once, named by what they are, refused in one sentence."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import types

import cloudpickle  # type: ignore[import-untyped]  # it has no types
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import TensorDataset

from automl_kd.api.identity import identity_of
from automl_kd.api.images import name_data, to_image
from automl_kd.api.objects import name_network, name_space, name_student
from automl_kd.data import load_data
from automl_kd.data.images.pixels import decode_image
from automl_kd.errors import ConfigError, DataError
from automl_kd.models import build_model, load_space, model_label, pin_reference
from automl_kd.registry import PICKLED
from automl_kd.space import InputShape
from automl_kd.spec import DataSpec
from automl_kd.storage.content_hash import pin
from tests import tiny
from tests.api import objects


def test_a_space_comes_back_and_is_written_once(tmp_path):
    name = name_space(objects.SPACE, tmp_path)
    (file,) = (tmp_path / "_objects").iterdir()
    written = file.stat().st_mtime_ns
    assert name_space(objects.SPACE, tmp_path) == name == pin_reference(name)
    assert file.stat().st_mtime_ns == written
    assert load_space(name).name == "two widths"


def test_a_network_comes_back_with_its_weights(tmp_path):
    name, weights = name_network(objects.teacher(), tmp_path)
    made = build_model(name, tiny.SHAPE)
    state = torch.load(weights, weights_only=True)
    assert all(torch.equal(value, state[key]) for key, value in made.state_dict().items())
    assert model_label(name) == "Net"


def test_a_network_of_half_precision_is_kept_in_single_precision(tmp_path):
    given = objects.teacher().half()
    name, weights = name_network(given, tmp_path)
    made, state = build_model(name, tiny.SHAPE), torch.load(weights, weights_only=True)
    assert {one.dtype for one in made.state_dict().values()} == {torch.float32, torch.int64}
    assert all(torch.equal(value, state[key]) for key, value in made.state_dict().items())
    assert made(torch.zeros(2, 1, 8, 8)).dtype == torch.float32
    assert given.classifier.weight.dtype == torch.float16


def test_the_identity_follows_weights_attributes_and_source(monkeypatch):
    plain, other = objects.teacher(), objects.teacher()
    assert identity_of(plain) == identity_of(other)
    with torch.no_grad():
        other.classifier.bias[0] += 1
    assert identity_of(plain) != identity_of(other)
    dropped = objects.teacher()
    dropped.dropout.p = 0.5
    assert identity_of(plain) != identity_of(dropped)
    before = identity_of(objects.SPACE), identity_of(functools.partial(objects.build, {"width": 3}))
    monkeypatch.setattr(objects, "SCALE", 2.0)  # of a helper that `build` calls
    assert identity_of(objects.SPACE) != before[0]
    assert identity_of(functools.partial(objects.build, {"width": 3})) != before[1]


class Builder:
    def __init__(self, **held) -> None:
        self.held = held

    def __call__(self, shape: InputShape) -> nn.Module:
        network: nn.Module = objects.student(shape)
        return network


def network_holding(**held) -> nn.Module:
    network: nn.Module = objects.teacher()
    network.register_buffer("scale", held.pop("scale", torch.ones(1)), persistent=False)
    vars(network).update(held)
    return network


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"config": {"alpha": 0.5}}, {"config": {"alpha": 0.7}}),
        ({"widths": [(4, 8)]}, {"widths": [(4, 9)]}),
        ({"scale": torch.ones(1)}, {"scale": torch.zeros(1)}),
        ({"table": torch.ones(1)}, {"table": torch.zeros(1)}),
        ({"array": np.ones(1)}, {"array": np.zeros(1)}),
        ({"kinds": {"a", "b"}}, {"kinds": {"a", "c"}}),
    ],
)
def test_the_identity_follows_whatever_is_held(one, other):
    for make in (network_holding, Builder, lambda **held: functools.partial(objects.build, held)):
        assert identity_of(make(**one)) == identity_of(make(**one))
        assert identity_of(make(**one)) != identity_of(make(**other))


def test_the_identity_follows_tables_that_a_function_uses(monkeypatch):
    before = identity_of(objects.SPACE)
    for widths in ((3, 5), {3: 5}, [3]):
        monkeypatch.setattr(objects, "SCALE", widths)
        assert identity_of(objects.SPACE) != before


def test_another_process_finds_the_same_identity():
    code = (
        "from tests.api import objects, test_objects; from automl_kd.api.identity import identity_of; "
        "print(identity_of(objects.SPACE), identity_of(test_objects.Builder(kinds={'a', 'b', 'c'})))"
    )
    here = f"{identity_of(objects.SPACE)} {identity_of(Builder(kinds={'a', 'b', 'c'}))}"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
        assert done.stdout.strip() == here


def test_what_no_longer_holds_the_same_or_has_no_hash_is_not_read(tmp_path):
    name = name_space(objects.SPACE, tmp_path)
    (file,) = (tmp_path / "_objects").iterdir()
    with pytest.raises(ConfigError, match="names an object of a Python program without the hash of its content"):
        load_space(f"{PICKLED}{file}")
    file.write_bytes(b"something else")
    with pytest.raises(ConfigError, match="has changed since it was named in this experiment"):
        load_space(name)


def test_code_that_is_not_there_is_one_sentence(tmp_path, monkeypatch):
    module = types.ModuleType("code_of_yesterday")
    exec("def build(shape): ...", module.__dict__)
    monkeypatch.setitem(sys.modules, "code_of_yesterday", module)
    (tmp_path / "build-0.pkl").write_bytes(cloudpickle.dumps(module.build))
    monkeypatch.delitem(sys.modules, "code_of_yesterday")
    with pytest.raises(ConfigError, match=r"build was made by code that cannot be imported here .*code_of_yesterday"):
        build_model(f"{PICKLED}{pin(str(tmp_path / 'build-0.pkl'))}", tiny.SHAPE)


def test_a_student_is_a_name_or_a_function(tmp_path):
    assert name_student("resnet8", tmp_path) == "model:resnet8"
    space = load_space(name_student(objects.student, tmp_path))
    assert isinstance(space.build({}, tiny.SHAPE), tiny.Net)
    assert space.label(space_default()) == "student"
    with pytest.raises(ConfigError, match="student is a Net, and every seed trains one from fresh weights"):
        name_student(objects.teacher(), tmp_path)
    with pytest.raises(ConfigError, match="space is an int; give a SearchSpace"):
        name_space(3, tmp_path)


def space_default():
    from automl_kd.space import Architecture

    return Architecture(())


def test_what_cannot_be_pickled_is_one_sentence(tmp_path):
    network = objects.teacher()
    network.file = sys.stdout
    with pytest.raises(ConfigError, match="the Net cannot be copied"):
        name_network(network, tmp_path)
    assert not (tmp_path / "_objects").exists()


def test_arrays_and_datasets_become_the_same_images(tmp_path):
    given = objects.arrays()
    by_array = load_data(DataSpec(**name_data(given, tmp_path), validation=0.2), tmp_path)
    parts = {"train": objects.Stripes(60, 0), "test": objects.Stripes(30, 2)}
    by_item = load_data(DataSpec(**name_data(parts, tmp_path), validation=0.2), tmp_path)
    assert by_array.shape == by_item.shape == InputShape(1, 8, 8, 3)
    assert torch.equal(by_array.test.inputs, by_item.test.inputs)
    assert torch.equal(by_array.train.labels, by_item.train.labels)


def test_a_dataset_alone_gives_a_fifth_to_the_test(tmp_path):
    found = load_data(DataSpec(**name_data(objects.Stripes(), tmp_path), validation=0.25), tmp_path)
    assert (len(found.test), len(found.validation), len(found.train)) == (12, 12, 36)
    assert found.test.labels.bincount().tolist() == [4, 4, 4]


def test_pictures_of_pil_are_read(tmp_path):
    pairs = [(Image.new("RGB", (6, 6), (10 * place, 0, 0)), place % 2) for place in range(20)]
    found = load_data(DataSpec(**name_data(pairs, tmp_path), validation=0.2), tmp_path)
    assert found.shape == InputShape(3, 6, 6, 2)


def picture_files(folder):
    """One file of each kind that Pillow does not open as plain grey or RGB, and one that lies on its side."""
    folder.mkdir()
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    colour = np.stack([grey, grey[::-1], grey.T.reshape(6, 8)], axis=2)
    layered = np.concatenate([colour, grey[..., None]], axis=2)
    Image.fromarray(layered).save(folder / "rgba.png")
    Image.fromarray(layered[..., 2:]).save(folder / "la.png")
    Image.fromarray(colour).quantize(4).save(folder / "p.png", transparency=1)
    Image.fromarray(colour).save(folder / "rgb.png", transparency=(0, 175, 0))
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "deep.png")
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(colour.swapaxes(0, 1)).save(folder / "turned.png", exif=turned)
    return sorted(folder.iterdir())


def test_pictures_of_pil_have_the_pixels_that_a_folder_gives(tmp_path):
    for file in picture_files(tmp_path / "images"):
        with file.open("rb") as handle:
            expected = np.asarray(decode_image(handle, file.name))
        assert np.array_equal(to_image(Image.open(file), file.name), expected), file.name
    turned = Image.open(tmp_path / "images" / "turned.png")
    assert to_image(turned, "an opened one").shape == (6, 8, 3)
    assert to_image(turned.convert("RGB"), "one that a program made").shape == (8, 6, 3)
    assert to_image(Image.new("L", (3, 2), 7), "plain grey").shape == (2, 3)
    with pytest.raises(DataError, match=r"image 3 of train has values from -1 to -1, and 0 to"):
        to_image(Image.new("I", (3, 2), -1), "image 3 of train")


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("multi-label", np.eye(3)[np.arange(20) % 3]),
        ("regression", np.arange(20) + 0.5),
        ("regression", np.arange(-9, 11.0)),
    ],
)
def test_labels_of_other_tasks_are_kept_as_they_are(tmp_path, task, labels):
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 6), dtype=np.uint8)
    pairs = [(image, torch.tensor(label)) for image, label in zip(images, labels, strict=True)]
    found = load_data(DataSpec(**name_data({"train": pairs, "test": pairs}, tmp_path), task=task), tmp_path)
    np.testing.assert_array_equal(found.test.labels, labels.reshape(20, -1))
    alone = load_data(DataSpec(**name_data(pairs, tmp_path), task=task), tmp_path)
    assert len(alone.test) == 4
    with pytest.raises(DataError, match="item 1 of data has 2 labels, where the first has 3; give each"):
        name_data([(images[0], [0, 1, 0]), (images[1], [0, 1])], tmp_path)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (TensorDataset(torch.rand(4, 1, 8, 8), torch.arange(4)), "image 0 of data is float32 .* without transforms"),
        ([(np.zeros((8, 8), np.uint8), "cat")], "item 0 of data is no pair of an image and an integer label"),
        (
            {
                "train": [(np.zeros((8, 8), np.uint8), 0)] * 2,
                "validation": [(np.zeros((s, 8), np.uint8), 0) for s in (8, 9)],
            },
            "image 1 of validation is of shape",
        ),
        ([(np.zeros((8, 8), np.uint8), -1)], "data has the label -1; number the classes from 0"),
        ([], "data is a list; give a Dataset of"),
        (3, "data is an int; give a Dataset of"),
        ({"x_train": np.zeros((2, 8, 8))}, "x_train is float64 of shape .*; give images of uint8"),
        ({"photos": 3}, "data has 'photos'; give arrays x_train"),
        ({"test": [(np.zeros((8, 8), np.uint8), 0)]}, "data has no part 'train'"),
    ],
)
def test_images_that_do_not_fit_are_refused(tmp_path, data, sentence):
    with pytest.raises(DataError, match=sentence):
        name_data(data, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_function_of_the_program_itself_goes_by_value(tmp_path, monkeypatch):
    main = types.ModuleType("__main__")
    exec("from torch import nn\ndef build(shape):\n    return nn.Flatten()\n", main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    name = name_student(main.build, tmp_path)
    monkeypatch.undo()
    assert isinstance(load_space(name).build({}, tiny.SHAPE), nn.Flatten)
