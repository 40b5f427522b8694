"""Shared by all tests: one torch thread per process, warnings as errors, real data where it is to be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real tables and images, or a skip that says how to name it."""
    folder = Path(os.environ.get("AUTOML_KD_SHARED", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; name its folder with AUTOML_KD_SHARED")
    return folder
