"""A wheel holds all that a command reads: it runs alone, in an empty folder, without this project on its path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests import ROOT
from tests.results.synthetic import write_experiment

PACKAGES = ("automl_kd", "search_spaces")
NEEDED = ("pyproject.toml", "requirements.txt", "README.md", "LICENSE")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy that holds nothing which a build left behind."""
    top = tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, top / "tree" / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in NEEDED:
        shutil.copy(ROOT / name, top / "tree")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(top), str(top / "tree")]
    built = subprocess.run(command, cwd=top, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = top.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def unpacked(wheel: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheel.parent / "unpacked")
    return wheel.parent / "unpacked"


def run_alone(unpacked: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the wheel and the requirements on its path, but no `.pth` file, so no project installed in place."""
    path = os.pathsep.join([str(unpacked), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("AUTOML_KD", "RAY_"))}
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=folder,
        env={**variables, "PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_holds_every_file_of_the_packages(unpacked):
    for package in PACKAGES:
        held, wanted = (
            {
                str(path.relative_to(top))
                for path in (top / package).rglob("*")
                if path.is_file() and path.suffix != ".pyc"
            }
            for top in (unpacked, ROOT)
        )
        assert held == wanted
    assert {path.name for path in unpacked.iterdir() if path.suffix != ".dist-info"} == {*PACKAGES}


def test_it_states_its_license(unpacked):
    (information,) = unpacked.glob("*.dist-info")
    assert "\nLicense-Expression: Apache-2.0\n" in (information / "METADATA").read_text(encoding="utf-8")
    assert (information / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_it_runs_alone(unpacked, tmp_path):
    program = "import automl_kd, search_spaces; print(automl_kd.__file__); print(search_spaces.__file__)"
    where = run_alone(unpacked, tmp_path, "-c", program)
    assert where.stdout.splitlines() == [str(unpacked / package / "__init__.py") for package in PACKAGES]
    shown = run_alone(unpacked, tmp_path, "-m", "automl_kd", "show")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert {"search_spaces.nasbench201:SPACE", "distpro_search", "naswot", "reviewkd"} <= {*shown.stdout.split()}


def test_it_has_the_quickstart_and_the_templates(unpacked, tmp_path):
    refused = run_alone(unpacked, tmp_path, "-m", "automl_kd", "search", "--set", "search.trials=0")
    assert refused.stderr.startswith(f"automl-kd: {unpacked / 'automl_kd' / 'quickstart.toml'}: search")
    write_experiment(tmp_path / "results" / "any")
    ranked = run_alone(unpacked, tmp_path, "-m", "automl_kd", "leaderboard", "results")
    assert ranked.returncode == 0, ranked.stderr
    assert "</html>" in (tmp_path / "results" / "leaderboard.html").read_text(encoding="utf-8")
