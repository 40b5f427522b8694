"""Cluster files fit Ray's own schema, and what they run exists: commands, options, versions."""

from __future__ import annotations

import copy
import importlib.metadata
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer
import yaml
from packaging.requirements import Requirement

from automl_kd.cli import app
from tests import ROOT

FOLDER = ROOT / "benchmarks" / "cluster"
CLUSTERS = ("aws", "gcp", "on_premises")
SHOWN = re.findall(r"ray submit (\S+) (\S+) -- (.*)", "".join(path.read_text() for path in FOLDER.glob("*.yaml")))


def described(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))


def require_command(words: list[str]) -> None:
    """Fails unless `automl-kd WORDS` is a command with such options."""
    group: Any = typer.main.get_command(app)
    group.commands[words[0]].make_context(words[0], words[1:]).close()


@pytest.mark.parametrize("name", CLUSTERS)
def test_ray_takes_the_cluster_file(name):
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(described(name)))
    validate_config(prepared)
    types = prepared["available_node_types"]
    assert sum(one["max_workers"] for one in types.values()) >= 2
    assert prepared["head_start_ray_commands"][-1].startswith(("ray start --head", "ulimit -n 65536; ray start --head"))


@pytest.mark.parametrize("name", CLUSTERS)
def test_nodes_get_the_project_and_what_it_needs(name):
    found = described(name)
    assert found["file_mounts"] == {"~/automl_kd": "."}
    assert found["setup_commands"] == [
        "pip install -r ~/automl_kd/requirements.txt && pip install --no-deps -e ~/automl_kd"
    ]


def test_what_the_files_say_to_run_exists():
    assert {path for path, _, _ in SHOWN} == {f"benchmarks/cluster/{name}.yaml" for name in CLUSTERS}
    for _, script, arguments in SHOWN:
        assert (ROOT / script).is_file()
        require_command(shlex.split(arguments))


def test_the_job_on_kubernetes_runs_a_command_on_the_ray_of_its_image():
    job = described("rayjob")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    python, module, package, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (python, module, package) == ("python", "-m", "automl_kd")
    require_command(arguments)
    assert arguments[arguments.index("--address") + 1] == "auto"
    assert arguments[arguments.index("--out") + 1].startswith("s3://")  # a retry has nothing else
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    containers = [one for group in groups for one in group["template"]["spec"]["containers"]]
    assert {one["image"].rpartition(":")[2] for one in containers} == {cluster["rayVersion"]}


def test_images_have_a_ray_that_the_project_allows_and_that_it_is_tested_with():
    texts = [path.read_text(encoding="utf-8") for path in FOLDER.glob("*.yaml")]
    versions = {version for text in texts for version in re.findall(r"rayproject/ray:([\d.]+)-py311-gpu", text)}
    assert versions == {described("rayjob")["spec"]["rayClusterSpec"]["rayVersion"]}
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    (ray,) = (Requirement(line) for line in lines if line.startswith("ray"))
    assert ray.extras == {"default", "train", "tune"}  # default has the server of jobs
    assert all(version in ray.specifier for version in [*versions, importlib.metadata.version("ray")])


@pytest.mark.ray  # one at a time: "auto" finds every Ray that runs on this machine
def test_submit_py_ends_in_one_sentence_where_there_is_no_cluster(tmp_path):
    ran = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "submit.py", "search", "--out", tmp_path / "out"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("automl-kd: no Ray cluster answers at 'auto'; start one with")
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "out").exists()
