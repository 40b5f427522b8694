"""Malformed and unusual inputs end in a sentence or in their result: no traceback, no hang, no file left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import automl_kd
from tests.fuzz.cases import CASES
from tests.fuzz.running import fault_of

SAMPLED = 11
"""So much of the whole is tried in the quick tests: each such case, counted through all kinds."""


@pytest.mark.parametrize("case", CASES[::SAMPLED], ids=lambda case: case.name)
def test_a_sample_of_the_inputs(case):
    assert fault_of(case) == ""


@pytest.mark.long
def test_all_inputs():
    assert len(CASES) >= 500
    assert [fault for case in CASES if (fault := fault_of(case))] == []


def test_each_case_is_made_again_by_its_name(tmp_path):
    for case in CASES[::150]:
        one, two = tmp_path / f"{case.name}-1", tmp_path / f"{case.name}-2"
        one.mkdir()
        two.mkdir()
        assert case.arguments(one) == case.arguments(two)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "nowhere.toml"),
        ("search", "/dev/zero"),
        ("search", "--set", "options.a=" + "[" * 2000 + "]" * 2000),
        ("search", "--progress", "loud"),
        ("leaderboard", "nowhere"),
    ],
)
def test_the_real_command_ends_alike(tmp_path, arguments):
    environment = {**os.environ, "PYTHONPATH": str(Path(automl_kd.__file__).parents[1])}
    command = [sys.executable, "-m", "automl_kd", *arguments]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.splitlines()[-1].startswith("automl-kd: ")
    assert "Traceback" not in ran.stderr
    assert list(tmp_path.iterdir()) == []
