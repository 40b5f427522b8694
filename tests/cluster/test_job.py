"""`ray job submit` against a head of this machine that demands a token, as the README says to do it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

import automl_kd
from tests import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.long]

RAY = Path(sys.executable).with_name("ray")
SMALL = (
    "search.trials=2",
    "search.proxy_filter=[]",
    'search.scheduler="none"',
    "data.train_images=100",
    "teacher.recipe.epochs=1",
    "recipe.epochs=1",
    "finalists.seeds=[0]",
    "finalists.count=1",
)


class Head(NamedTuple):
    """Where the job server answers, and the environment in which it does."""

    address: str
    environment: dict[str, str]


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@pytest.fixture
def head(tmp_path) -> Iterator[Head]:
    """A head with two processors. Its folder has a short name, since paths of sockets are limited to 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 4, encoding="utf-8")
    token.chmod(0o600)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "HOME": str(tmp_path),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",  # the job's "python" is this one
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    names = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port", "metrics-export-port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    options = [f"--{name}={port}" for name, port in ports.items()]
    with (tmp_path / "head.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [RAY, "start", "--head", "--block", "--num-cpus=2", "--temp-dir", folder, *options],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(ports["dashboard-port"], process)
        yield Head(f"http://127.0.0.1:{ports['dashboard-port']}", environment)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("the head did not start")


def test_a_job_leaves_its_results_in_the_folder_that_it_was_given(head, tmp_path):
    settings = [word for one in SMALL for word in ("--set", one)]
    command = ["python", "-m", "automl_kd", "search", *settings, "--out", str(tmp_path / "results")]
    ran = subprocess.run(
        [RAY, "job", "submit", "--address", head.address, "--working-dir", ".", "--", *command],
        cwd=ROOT,
        env=head.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"written to {tmp_path / 'results' / 'quickstart' / 'leaderboard.html'}" in ran.stdout
    rows = automl_kd.read_results(tmp_path / "results").rows
    assert set(rows["status"]) == {"complete"}
    assert sorted(rows["trial_kind"].unique()) == ["final", "search", "teacher"]
    assert not (tmp_path / ".ray").exists()
