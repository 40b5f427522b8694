"""A record made in Python is checked when it is made, in the words of a TOML file."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import automl_kd
from automl_kd.api.run import teacher_section
from automl_kd.config import Budget, loads, parse_record
from automl_kd.errors import ConfigError, RecordError
from automl_kd.spec import TeacherSpec
from tests import ROOT

akd: Any = automl_kd
"""Without its types, which would refuse some of what is tried here."""

HUGE = float("inf")
MEAN = {"mean": (0.5,), "std": (0.2,)}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: akd.Recipe(optimizer="sdg"),
            "Recipe: optimizer = \"sdg\" does not fit; it should be 'sgd', 'adamw' or 'lamb'",
        ),
        (lambda: akd.Recipe(epoch=3), "Recipe: unknown key 'epoch'; did you mean 'epochs'?"),
        (lambda: akd.Recipe(lr=HUGE), "Recipe: lr is inf; it should be a finite number"),
        (lambda: akd.Recipe(lr=float("nan")), "Recipe: lr is nan; it should be a finite number"),
        (lambda: akd.Recipe(epochs=2.5), "Recipe: epochs = 2.5 does not fit; it should be a valid integer"),
        (lambda: akd.Budget(params="many"), 'Budget: params = "many" does not fit; it should be a valid integer'),
        (lambda: akd.Budget(params=-1), "Budget: limits must be 0 .none. or more"),
        (lambda: akd.methods.KD(temperature=0.0), "KD: temperature must be above 0, got 0.0"),
        (lambda: akd.methods.KD(temprature=4.0), "KD: unknown key 'temprature'; did you mean 'temperature'?"),
        (lambda: akd.methods.KD(4.0, 0.5, 1), "KD got 1 without its name; write it as field=value"),
        (
            lambda: akd.methods.Subgraph(share="half"),
            'Subgraph: share = "half" does not fit; it should be a valid number',
        ),
        (lambda: akd.Preprocessing(mean=(0.5,), std=(0.0,)), "Preprocessing: std must lie above 0 and at most at 1"),
        (lambda: akd.Preprocessing(mean=(120.0,), std=(0.2,)), "Preprocessing: mean must lie in 0 to 1"),
        (lambda: akd.Preprocessing(mean=(0.5,)), "Preprocessing: mean and std must have one number for each channel"),
        (lambda: akd.Preprocessing(channels="bgrr"), "Preprocessing: channels = .bgrr. does not fit"),
        (
            lambda: akd.Preprocessing(interpolation="cubic"),
            "Preprocessing: interpolation = .cubic. does not fit",
        ),
        (lambda: akd.Teacher("resnet8", classes=(0, 0)), "Teacher: teacher.classes names output 0 twice"),
        (lambda: akd.Teacher(7), "Teacher: model is an int; give an nn.Module"),
        (lambda: akd.Teacher("resnet8", outputs="half"), "Teacher: teacher.outputs must be exact, float16"),
        (lambda: akd.Teacher(nn.Identity(), checkpoint="w.pt"), "Teacher: an nn.Module brings its own weights"),
        (lambda: akd.Teacher("resnet8", preprocessing=MEAN), "Teacher: preprocessing is a dict; give Preprocessing"),
        (lambda: akd.Teacher("resnet8", others=["resnet20"]), "Teacher: others has a str; give each as a Teacher"),
        (lambda: akd.Teacher("resnet8", others=akd.Teacher()), "Teacher: others is a Teacher; give a list of Teacher"),
        (
            lambda: akd.Teacher("resnet8", others=[akd.Teacher("resnet20")], shares=(1,)),
            "Teacher: teacher.shares has another length than the number of teachers, 2",
        ),
        (lambda: akd.Teacher("resnet8", temperature=0), "Teacher: teacher.temperature must be above 0, got 0.0"),
        (lambda: akd.Teacher("resnet8", seed="x"), 'Teacher: seed = "x" does not fit; it should be a valid integer'),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_made(make, sentence):
    with pytest.raises(RecordError, match=sentence) as raised:
        make()
    assert isinstance(raised.value, ValueError)


def test_the_sentence_is_that_of_a_file():
    with pytest.raises(ConfigError, match=r"unknown key 'budget.parms'; did you mean 'params'?"):
        loads('name = "a"\nspace = "b:C"\n[budget]\nparms = 1')
    with pytest.raises(RecordError, match=r"unknown key 'parms'; did you mean 'params'?"):
        akd.Budget(parms=1)


def test_several_teachers_are_one_section_with_their_objects_beside_it(tmp_path):
    one, two = nn.Linear(2, 2), nn.Linear(3, 3)
    found = teacher_section(
        akd.Teacher(
            one, others=[akd.Teacher(two, resolution=16), akd.Teacher("a:b", checkpoint="c")], shares=(3, 2, 1)
        ),
        tmp_path,
    )
    section = parse_record(TeacherSpec, found, "here")
    assert section.shares == (3.0, 2.0, 1.0)
    assert (section.others[0].resolution, section.others[1]) == (16, TeacherSpec(model="a:b", checkpoint="c"))
    for teacher, network in zip(section.members, (one, two), strict=False):
        state = torch.load(teacher.checkpoint, weights_only=True)
        assert torch.equal(state["weight"], network.weight)


def test_what_fits_is_the_record_itself():
    budget = akd.Budget(params=500_000)
    assert isinstance(budget, Budget)
    assert (budget.params, budget.macs) == (500_000, 0)
    assert akd.methods.KD(2).temperature == 2.0
    assert type(akd.methods.KD(2).temperature) is float
    assert akd.methods.KD(temperature=4) == akd.methods.KD()


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, automl_kd; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there():
    for name in akd.__all__:
        assert getattr(akd, name) is not None
    assert set(akd.__all__) <= set(dir(akd))
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        _ = akd.serch


def test_no_room_has_the_name_of_a_public_function():
    # Importing a module puts it into its package, in a function's place.
    package = Path(akd.__file__).parent
    modules = {path.stem for path in package.glob("*.py")} | {
        path.parent.name for path in package.glob("*/__init__.py")
    }
    assert modules & set(akd.__all__) == {"losses", "methods", "proxies"}, "modules by intention"


def test_the_version_is_that_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == akd.SOURCE_VERSION
    assert akd.__version__.startswith(project["version"])


def test_a_file_cannot_name_an_object_of_a_program():
    for name in ("pickled:/tmp/x.pkl@sha256-" + 64 * "0", "model:pickled:/tmp/x.pkl"):
        with pytest.raises(ConfigError, match="space names an object of a Python program, which only that program"):
            loads(f'name = "a"\nspace = "{name}"')
