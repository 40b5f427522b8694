"""What an experiment says of a teacher from a file: its classes by name, its images, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest

from automl_kd.errors import ConfigError
from automl_kd.experiment.teacher_settings import read_class_names, settle_classes, settle_teacher, settle_view
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import InputShape
from automl_kd.spec import DataSpec, Preprocessing, TeacherSpec
from tests import tiny

LINES = (
    "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\nold english sheepdog\nGreat_White Shark\n\n"
)


@pytest.mark.parametrize(
    ("classes", "outputs"),
    [
        (("n01443537", "n01440764"), (1, 0)),
        (("goldfish", "Tinca tinca"), (1, 0)),
        (("Old-English Sheepdog", "great white shark"), (2, 3)),
    ],
)
def test_classes_are_found_by_any_of_their_names(tmp_path, classes, outputs):
    (tmp_path / "names.txt").write_text(LINES)
    assert read_class_names(str(tmp_path / "names.txt"), classes) == (outputs, 4)


def test_a_mapping_names_the_outputs_themselves(tmp_path):
    (tmp_path / "map.csv").write_text("class,output\ntench,0\ngoldfish,7\n")
    assert read_class_names(str(tmp_path / "map.csv"), ("goldfish", "tench")) == ((7, 0), 0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tench\ngoldfsh\n", "has no output for class 'goldfish' of the data; did you mean 'goldfsh'? Rename it"),
        ("tench\n", "has no output for class 'goldfish' of the data; name its outputs by teacher.class_names"),
        ("class,output\ntench,first\n", "has a line that is no class and a whole number; write class,output"),
    ],
)
def test_a_class_without_an_output_is_refused(tmp_path, text, sentence):
    (tmp_path / "names").write_text(text)
    with pytest.raises(ConfigError, match=sentence.replace("?", r"\?")):
        read_class_names(str(tmp_path / "names"), ("tench", "goldfish"))


def test_a_file_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"^teacher.class_names = '/no/names' cannot be read: No such file"):
        read_class_names("/no/names", ("a", "b"))


@pytest.mark.parametrize(
    "options",
    [
        {"resolution": 64},
        {"classes": (0, 1, 2)},
        {"preprocessing": Preprocessing(channels="bgr")},
        {"class_names": "f"},
    ],
)
def test_a_teacher_that_is_trained_has_no_images_of_its_own(options):
    with pytest.raises(ConfigError, match=rf"^teacher.{next(iter(options))} is for a teacher that brings its weights"):
        settle_teacher(dataclasses.replace(tiny.TEACHER, **options))


def test_images_are_kept_as_the_larger_network_takes_them():
    own = Preprocessing(crop=0.875, interpolation="bicubic")
    large, small = (TeacherSpec(checkpoint="x", resolution=size, preprocessing=own) for size in (224, 32))
    assert settle_view(DataSpec(resolution=96), large) == DataSpec(
        resolution=96, view=224, crop=0.875, interpolation="bicubic"
    )
    assert settle_view(DataSpec(resolution=96), small) == DataSpec(resolution=96, view=32)
    asked = DataSpec(resolution=96, crop=0.9, interpolation="box")
    assert settle_view(asked, large) == dataclasses.replace(asked, view=224)


def test_the_number_of_outputs_is_read_from_the_file(tmp_path):
    save_weights(tiny.teacher(InputShape(1, 8, 8, 9)), tmp_path / "nine.pt")
    experiment = tiny.experiment(
        teacher=TeacherSpec(model="tests.tiny:teacher", checkpoint=str(tmp_path / "nine.pt"), classes=(8, 0, 4))
    )
    assert settle_classes(experiment, tiny.dataset()).teacher.total_classes == 9


def test_too_few_classes_are_refused(tmp_path):
    experiment = tiny.experiment(teacher=TeacherSpec(checkpoint="x", classes=(8, 0)))
    with pytest.raises(ConfigError, match=r"^teacher.classes has 2 outputs, and stripes 3 classes; give one for each"):
        settle_classes(experiment, tiny.dataset())
