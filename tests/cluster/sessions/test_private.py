"""A private Ray is reached from this machine alone, and by nobody without its token, whatever the environment says."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import ray
from ray._private.authentication.authentication_utils import is_token_auth_enabled

from automl_kd.cluster.sessions.private import SOCKET_BYTES, require_loopback, require_place, token_of_its_own
from automl_kd.errors import ConfigError
from tests import ROOT


@pytest.mark.parametrize("mode", [None, "disabled", "token"])
def test_a_token_is_asked_for_whatever_the_environment_says_of_clusters(monkeypatch, mode):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the token of a cluster")
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with token_of_its_own():
        token = os.environ["RAY_AUTH_TOKEN"]
        assert is_token_auth_enabled()
        assert len(token) == 64
    with token_of_its_own():
        assert os.environ["RAY_AUTH_TOKEN"] != token
    assert os.environ.get("RAY_AUTH_MODE") == mode
    assert os.environ["RAY_AUTH_TOKEN"] == "the token of a cluster"
    assert is_token_auth_enabled() == (mode == "token")


def test_a_ray_that_others_can_reach_is_not_worked_in(monkeypatch):
    monkeypatch.setattr("ray.nodes", lambda: [{"NodeManagerAddress": "192.0.2.77"}])
    with pytest.raises(ConfigError, match=r"opens its ports at 192\.0\.2\.77, which others can reach"):
        require_loopback()


def test_a_folder_whose_sockets_would_have_too_long_names_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=rf"the system allows {SOCKET_BYTES}; export RAY_TMPDIR=/tmp, or another"):
        require_place(tmp_path / ("x" * 90) / "ray")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "full"])
def test_a_folder_without_place_is_refused_with_its_cause(tmp_path_factory, monkeypatch, kind):
    root = Path(os.path.relpath(tmp_path_factory.mktemp("r")))
    monkeypatch.setattr("automl_kd.cluster.sessions.private.SOCKET", "s")  # folders of tests have long names
    if kind == "file":
        (root / "ray").write_text("")
        with pytest.raises(
            ConfigError, match=r"^Ray's own folder .* cannot be made \(File exists\); export RAY_TMPDIR"
        ):
            require_place(root / "ray")
    else:
        monkeypatch.setattr("automl_kd.cluster.sessions.private.SHARED_MEMORY", 2**60)
        with pytest.raises(ConfigError, match=r"where Ray keeps its own files, has [0-9]+ MiB free, and it needs"):
            require_place(root / "ray")


def own_address() -> str:
    """Where others reach this machine; the loopback address if nobody does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.77", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def family() -> set[int]:
    """This process and those that it started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def doors() -> set[tuple[str, int]]:
    """Where the family listens: addresses and ports of its sockets, as the system's tables have them."""
    own = set()
    for path in (link for pid in family() for link in Path(f"/proc/{pid}/fd").glob("*")):
        with suppress(OSError):
            own.add(str(path.readlink()))
    found = set()
    for line in [one for name in ("tcp", "tcp6") for one in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]:
        _, local, _, state, *_, inode = line.split()[:10]
        if state == "0A" and f"socket:[{inode}]" in own:
            host, port = local.split(":")
            words = [int(host[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(host), 8)]
            address = ipaddress.ip_address(b"".join(words))
            found.add((str(getattr(address, "ipv4_mapped", None) or address), int(port, 16)))
    return found


@pytest.mark.ray
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the tables of Linux")
def test_every_port_lies_at_the_loopback_address(ray_session):
    ray.get(ray.remote(num_cpus=0)(lambda: os.getpid()).remote())  # so that there is a worker
    found, outside = doors(), own_address()
    assert len(found) >= 5  # control, raylet, object manager, agent, this driver, a worker
    assert all(ipaddress.ip_address(host).is_loopback for host, _ in found)
    if not ipaddress.ip_address(outside).is_loopback:
        for _, port in found:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((outside, port), timeout=5).close()


JOIN = """
import sys
from automl_kd.cluster.sessions.session import session
from automl_kd.errors import ConfigError
import ray

try:
    with session(sys.argv[1]):
        print(ray.get(ray.remote(num_cpus=0)(lambda: "joined").remote()))
except ConfigError as error:
    print(error)
"""


def join(address: str, home: Path, **environment: str) -> str:
    """What a process of another user says, who has these things alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env = {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", JOIN, address]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return ran.stdout.strip() or ran.stderr


@pytest.mark.ray
def test_who_has_not_the_token_is_told_what_to_do(ray_session, tmp_path):
    address = ray.get_runtime_context().gcs_address
    asks = f"the Ray cluster at '{address}' asks for a token"
    assert join(address, tmp_path).startswith(f"{asks}; put the head's ~/.ray/auth_token on this machine")
    assert join(address, tmp_path, RAY_AUTH_TOKEN="0" * 64, RAY_AUTH_MODE="token").startswith(
        f"the Ray cluster at '{address}' refuses this machine's token"
    )
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(os.environ["RAY_AUTH_TOKEN"])
    assert join(address, tmp_path, RAY_AUTH_MODE="disabled").startswith(f"{asks} and RAY_AUTH_MODE is 'disabled'")
    assert join(address, tmp_path).startswith(f"{asks} and RAY_AUTH_MODE is not set; export RAY_AUTH_MODE=token")
