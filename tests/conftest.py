"""Shared by all tests: one torch thread unless OMP_NUM_THREADS says otherwise, real data where it is to be had."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

settings.register_profile("untimed", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("untimed")

TESTS = Path(__file__).parent
SLOW = TESTS / "slow_cases.txt"


def slow_cases() -> dict[str, str]:
    """The cases that `slow_cases.txt` names, as pytest names them, each with its mark: "slow", or "long"."""
    lines = [line for line in SLOW.read_text().splitlines() if not line.startswith("#")]
    return {line.removeprefix("long "): "long" if line.startswith("long ") else "slow" for line in lines}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `slow_cases.txt` names, before pytest chooses by marks.

    Tests that share one Ray come last, as others start one of their own, or want none.
    """
    slow = slow_cases()
    for item in items:
        if mark := slow.get(item.nodeid):
            item.add_marker(mark)
    items.sort(key=lambda item: "ray_session" in getattr(item, "fixturenames", ()))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Whatever draws without a generator draws alike alone, after any other test and in any process."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real tables and images, or a skip that says how to name it."""
    folder = Path(os.environ.get("AUTOML_KD_SHARED", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; name its folder with AUTOML_KD_SHARED")
    return folder


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """A Ray of four CPUs on this machine, one for all tests; what asks for a session of its own works in it."""
    from automl_kd.cluster.sessions.private import private_ray

    with private_ray(num_cpus=4, log_to_driver=False, logging_level=logging.ERROR):
        yield


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt; a shell's background job begins with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
