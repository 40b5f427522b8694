"""What a network returns, takes and does to memory is known before anything is trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from automl_kd.config import ComparisonSection, Experiment, MethodEntry, StudentSection
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.registry import load_reference
from automl_kd.space import InputShape
from automl_kd.spec import TeacherSpec
from tests import strange, tiny


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def noted(root: Path, experiment: Experiment) -> list[str]:
    notes = Notes()
    prepare_experiment(experiment, Roots(results=root / "results", data=root), notes)
    assert not (root / "results").exists()
    return notes.said


WARM = StudentSection(init="teacher")


def taught_by(name: str) -> Experiment:
    teacher = TeacherSpec(model=f"tests.strange:{name}", recipe=tiny.TEACHER.recipe)
    return tiny.experiment(method="kd", teacher=teacher)


def teaching(name: str) -> Experiment:
    return tiny.experiment(method="kd", space=f"model:tests.strange:{name}")


REFUSED = {
    "nameless": r"a Returning returned a dict, where logits of shape \(1, 3\)",
    "many_classes": r"a Body returned a tensor of float32 of shape \(1, 1000\), where logits of shape \(1, 3\)",
    "double": r"weights of float64 do not take images of float32 \(.*\); .* end with .float\(\)",
    "double_logits": r"the logits are float64 where float32 is wanted; .* end with .float\(\)",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_will_not_do_is_refused_in_a_sentence(tmp_path, name: str):
    with pytest.raises(ConfigError, match=rf"^the teacher 'tests.strange:{name}'[: ].*{REFUSED[name]}"):
        noted(tmp_path, taught_by(name))
    with pytest.raises(ConfigError, match=rf"^the students of model:tests.strange:{name}[: ].*{REFUSED[name]}"):
        noted(tmp_path, teaching(name))


@pytest.mark.parametrize("name", ["writing", "mapping", "record", "spatial", "auxiliary", "settling", "weight_norm"])
def test_what_will_do_is_not_mentioned(tmp_path, name: str):
    if name != "record":  # which torch.fx cannot trace
        assert noted(tmp_path, taught_by(name)) == []
    assert noted(tmp_path, teaching(name)) == []


def test_what_is_kept_contiguous_is_said_once(tmp_path):
    (teacher,), (student,) = noted(tmp_path, taught_by("viewing")), noted(tmp_path, teaching("viewing"))
    assert teacher.startswith("the teacher 'tests.strange:viewing' cannot be run with channels last in memory")
    assert student.startswith("the students of model:tests.strange:viewing cannot be run with channels last")
    plain = dataclasses.replace(tiny.RECIPE, channels_last=False)
    assert noted(tmp_path, dataclasses.replace(teaching("viewing"), recipe=plain)) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("twice", "its folded copy gives other logits"),
        ("by_hand", "its folded copy cannot be run"),
        ("checking", "it cannot be traced"),
    ],
)
def test_a_teacher_that_is_asked_as_it_is_is_said_once(tmp_path, name: str, reason: str):
    (note,) = noted(tmp_path, taught_by(name))
    assert note.startswith(f"the teacher 'tests.strange:{name}' runs unfolded")
    assert reason in note


def test_a_teacher_without_batch_normalisations_is_not_said_to_run_unfolded(tmp_path):
    assert noted(tmp_path, taught_by("normless")) == []


def test_what_students_begin_with_is_said_once(tmp_path):
    warm = tiny.experiment(method="kd", student=WARM)
    assert noted(tmp_path, warm) == [
        "students begin with the teacher's weights: 100% of the default student's parameters"
    ]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("scratch", "scratch: begins with fresh weights, as it has no teacher"),
        ("subgraph", "subgraph: makes its own students, on which student.init has no effect"),
    ],
)
def test_whose_students_do_not_begin_so_is_said(tmp_path, method: str, said: str):
    assert noted(tmp_path, tiny.experiment(method=method, student=WARM))[1:] == [said]


def test_a_start_of_students_that_a_method_makes_is_refused(tmp_path):
    entries = (MethodEntry(name="kd", method="kd"), MethodEntry(name="cut", method="subgraph", init="teacher"))
    compared = tiny.experiment(comparison=ComparisonSection(methods=entries, reference="kd"))
    with pytest.raises(ConfigError, match=r"^init of 'cut' = 'teacher' has no effect, as method 'subgraph' makes"):
        noted(tmp_path, compared)


def test_a_teacher_of_another_family_is_refused_before_anything_is_trained(tmp_path):
    teacher = TeacherSpec(model="resnet8", recipe=tiny.TEACHER.recipe)
    data = dataclasses.replace(tiny.DATA, resolution=32)
    warm = tiny.experiment(
        method="kd",
        space="model:torchvision:resnet18",
        teacher=teacher,
        student=WARM,
        data=data,
    )
    expected = (
        r"^student\.init: only 0\.\d% of the default student's parameters have a counterpart in the teacher's weights"
    )
    with pytest.raises(ConfigError, match=expected):
        noted(tmp_path, warm)
    with pytest.raises(ConfigError, match=r"^student\.init: no file could be read from .*nowhere\.pt: "):
        noted(tmp_path, dataclasses.replace(warm, student=StudentSection(init=str(tmp_path / "nowhere.pt"))))


def test_a_teacher_of_one_image_size_is_named_where_students_take_another(tmp_path):
    save_weights(strange.fixed_size(tiny.SHAPE), tmp_path / "fixed.pt")
    teacher = TeacherSpec(model="tests.strange:fixed_size", checkpoint=str(tmp_path / "fixed.pt"), resolution=12)
    expected = (
        r"^the teacher, a FixedSize for images of 12x12, cannot be run on those of 8x8 that its students take "
        r"\(AssertionError: .*\), .*; set data.resolution = 12, or let students begin fresh$"
    )
    for how in ({"method": "kd", "student": WARM}, {"method": "subgraph"}):
        with pytest.raises(ConfigError, match=expected):
            noted(tmp_path, tiny.experiment(teacher=teacher, **how))
    larger = dataclasses.replace(tiny.DATA, resolution=12)
    notes = noted(tmp_path, tiny.experiment(method="kd", student=WARM, teacher=teacher, data=larger))
    assert notes[-1].startswith("students begin with the teacher's weights")


def test_several_teachers_have_no_layers_to_begin_with(tmp_path):
    files = []
    for name in ("one", "two"):
        save_weights(tiny.teacher(tiny.SHAPE), tmp_path / f"{name}.pt")
        files.append(TeacherSpec(model="tests.tiny:teacher", checkpoint=str(tmp_path / f"{name}.pt")))
    both = dataclasses.replace(files[0], others=(files[1],))
    expected = r'^student\.init = "teacher" takes layers of the teacher, and .* are several networks; set student.init'
    with pytest.raises(ConfigError, match=expected):
        noted(tmp_path, tiny.experiment(method="kd", teacher=both, student=WARM))


def softened(shape: InputShape) -> nn.Module:
    return nn.Sequential(tiny.Net(shape, 6), nn.Softmax(1))


def logarithmic(shape: InputShape) -> nn.Module:
    return nn.Sequential(tiny.Net(shape, 6), nn.LogSoftmax(1))


def half(shape: InputShape) -> nn.Module:
    return tiny.Net(shape, 6).half()


def five_classes(shape: InputShape) -> nn.Module:
    return tiny.Net(dataclasses.replace(shape, classes=5), 6)


def one_output(shape: InputShape) -> nn.Module:
    return tiny.Net(dataclasses.replace(shape, classes=1), 6)


def colours_alone(shape: InputShape) -> nn.Module:
    return tiny.Net(dataclasses.replace(shape, channels=3), 6)


def weighted(root: Path, name: str, **described: Any) -> TeacherSpec:
    """A teacher of this file that brings its weights."""
    reference = f"{__name__}:{name}"
    shape = dataclasses.replace(tiny.SHAPE, classes=described.get("total_classes", tiny.SHAPE.classes))
    save_weights(load_reference(reference)(shape), root / f"{name}.pt")
    return TeacherSpec(model=reference, checkpoint=str(root / f"{name}.pt"), **described)


@pytest.mark.parametrize("chosen", [{}, {"classes": (4, 0, 2), "total_classes": 5}])
def test_a_teacher_whose_probabilities_would_teach_as_logits_is_refused(tmp_path, chosen: dict[str, Any]):
    expected = (
        r"softened returns probabilities, as its outputs are not negative and sum to 1, .*; give the network with"
    )
    with pytest.raises(ConfigError, match=expected):
        noted(tmp_path, tiny.experiment(method="kd", teacher=weighted(tmp_path, "softened", **chosen)))
    assert noted(tmp_path, tiny.experiment(method="kd", teacher=weighted(tmp_path, "logarithmic", **chosen))) == []


def test_probabilities_of_what_is_trained_here_are_noted(tmp_path):
    trained = TeacherSpec(model=f"{__name__}:softened", recipe=tiny.TEACHER.recipe)
    (note,) = noted(tmp_path, tiny.experiment(method="kd", teacher=trained))
    assert note.startswith(f"the teacher '{__name__}:softened' returns probabilities, as its outputs")


REFUSED_WITH_WEIGHTS = {
    "half": r": weights of float16 do not take images of float32 \(.*\); .* end with .float\(\)$",
    "five_classes": r" has 5 outputs, and the data 3 classes; say by teacher.classes or teacher.class_names which of ",
    "one_output": r" has 1 output, and the data 3 classes; give one with an output for each class$",
    "colours_alone": r" takes images of 3 channels, and the data's have 1; let its forward function make its channels",
}


@pytest.mark.parametrize("name", REFUSED_WITH_WEIGHTS)
def test_what_a_teacher_with_weights_has_otherwise_is_named(tmp_path, name: str):
    with pytest.raises(ConfigError, match=rf"^the teacher '{__name__}:{name}'{REFUSED_WITH_WEIGHTS[name]}"):
        noted(tmp_path, tiny.experiment(method="kd", teacher=weighted(tmp_path, name)))
