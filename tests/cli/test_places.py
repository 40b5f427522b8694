"""Places for results that would be lost, or that are none, are refused before anything happens."""

from __future__ import annotations

import pytest


@pytest.fixture
def in_a_job(tmp_path, monkeypatch):
    """Puts the process where Ray runs the driver of a job."""
    folder = tmp_path / "session_1" / "runtime_resources" / "working_dir_files" / "_ray_pkg_1"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


COMMANDS = [
    ("search",),
    ("distill", "--student", "resnet8"),
    ("score", "search_spaces.resnet:SPACE", "--proxies", "macs"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_results_in_the_folder_of_a_job_are_refused(refused, in_a_job, command):
    sentence = "and Ray deletes the folder of a job that it would lie in; give a folder that all nodes see by its"
    assert refused(*command).startswith(f"--out is 'results', {sentence}")
    assert refused(*command, "--out", str(in_a_job / "here")).startswith(f"--out is '{in_a_job}/here', {sentence}")


@pytest.mark.parametrize("command", [*COMMANDS, ("leaderboard", "results")], ids=lambda command: command[0])
def test_a_scheme_that_is_not_known_is_refused(refused, command):
    sentence = refused(*command, "--out", "ftp://bucket/runs")
    assert sentence.startswith("ftp://bucket is no place for files; give a folder, s3://BUCKET/PREFIX or gs://")


def test_images_in_a_job_may_lie_in_its_folder(refused, in_a_job):
    said = refused("search", "--set", 'data.name="cifar10"', "--out", "/nonexistent/results")
    assert f"looked for {in_a_job}/data/" in said
