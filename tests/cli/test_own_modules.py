"""A space in a file beside the experiment is found, whatever the folder in which the command is typed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import automl_kd
from automl_kd.methods import run_trial
from automl_kd.space import Architecture
from tests import tiny

SPACE = """
from my_blocks_beside import WIDTHS
from automl_kd.space import Choice, Parameter, SearchSpace
from automl_kd.models import build_model

SPACE = SearchSpace(
    name="mine", source="here", parameters={"width": Parameter(Choice(WIDTHS))}, default={"width": 4},
    build=lambda values, shape: build_model("resnet8", shape),
)
"""
TOML = 'name = "mine"\nspace = "{space}"\n[data]\nname = "digit"\n'


@pytest.fixture
def beside(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "my_spaces_beside.py").write_text(SPACE)
    (folder / "my_blocks_beside.py").write_text("WIDTHS = (4, 8)\n")
    (folder / "mine.toml").write_text(TOML.format(space="my_spaces_beside:SPACE"))
    yield folder
    for name in ("my_spaces_beside", "my_blocks_beside"):
        sys.modules.pop(name, None)


def test_a_module_beside_the_experiment_is_found(refused, beside):
    # The misspelt data set is what is refused next.
    assert "no dataset is called 'digit'" in refused("search", "project/mine.toml")
    assert sys.path[-1] == str(beside.resolve()), "last, so that nothing is put in its place"
    assert sys.path.count(str(beside.resolve())) == 1


def test_the_check_of_a_teacher_finds_it(refused, beside):
    assert "no dataset is called 'digit'" in refused("check-teacher", "project/mine.toml", "--progress", "none")


def test_an_export_finds_the_module_of_the_current_folder(run, beside, tmp_path, monkeypatch):
    spec = tiny.spec(method="scratch", space="my_spaces_beside:SPACE", architecture=Architecture.of({"width": 4}))
    with monkeypatch.context() as during:
        during.syspath_prepend(beside)
        run_trial(spec, tiny.Recorder(), tiny.place(tmp_path / "results" / "mine", spec))
    for name in ("my_spaces_beside", "my_blocks_beside"):
        del sys.modules[name]
    monkeypatch.chdir(beside)
    trial, forms = f"{tmp_path}/results/mine/trials/{spec.key}", ("--no-onnx", "--no-pt2", "--progress", "none")
    code, _, said = run("export", trial, "student", *forms)
    assert code == 0, said


def test_a_module_in_the_current_folder_is_found(refused, beside, monkeypatch):
    monkeypatch.chdir(beside)
    assert "no dataset is called 'digit'" in refused(
        "score", "my_spaces_beside:SPACE", "--proxies", "params", "--data", "digit"
    )


def test_what_is_installed_comes_first(refused, beside):
    (beside / "colorsys.py").write_text("raise SystemExit('the wrong one')")
    (beside / "mine.toml").write_text(TOML.format(space="colorsys:ONE_THIRD"))
    assert "'colorsys:ONE_THIRD' is of type float; name a SearchSpace" in refused("search", "project/mine.toml")
    assert str(beside.resolve()) not in sys.path


def test_a_module_that_is_nowhere_names_the_folders(refused, beside):
    (beside / "mine.toml").write_text(TOML.format(space="my_spaces_nowhere:SPACE"))
    said = refused("search", "project/mine.toml")
    assert "no module 'my_spaces_nowhere' could be imported for 'my_spaces_nowhere:SPACE'; install it" in said
    assert f"or put it into {beside.resolve()} or {beside.parent.resolve()}" in said


def test_a_process_that_is_started_finds_it_too(beside):
    code = (
        "import sys; from automl_kd.registry import load_reference; "
        "print(load_reference('my_spaces_beside:SPACE').name, sys.path[-1])"
    )
    root = str(Path(automl_kd.__file__).parents[1])
    environment = {**os.environ, "AUTOML_KD_BESIDE": str(beside), "PYTHONPATH": root}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["mine", str(beside)]


@pytest.mark.ray
def test_workers_of_a_private_ray_find_it(beside):
    """In a process of its own: Ray starts its workers in the environment that it was started in."""
    code = (
        "import ray, pathlib, sys\n"
        "from automl_kd.cluster.sessions.private import private_ray\n"
        "from automl_kd.registry import load_reference, search_beside\n"
        "search_beside(pathlib.Path(sys.argv[1]))\n"
        "found = lambda: ('torch._dynamo' in sys.modules, load_reference('my_spaces_beside:SPACE').name)\n"
        "with private_ray(ready=True):\n"
        "    print(*ray.get(ray.remote(found).remote()))\n"
    )
    root = str(Path(automl_kd.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "AUTOML_KD_BESIDE": ""}
    command = [sys.executable, "-c", code, str(beside)]
    ran = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300, check=True)
    assert ran.stdout.split()[-2:] == ["True", "mine"], "what takes long was there before the first trial"
