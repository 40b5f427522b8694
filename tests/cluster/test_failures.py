"""Every kind of failure: told apart, tried again only where that may help, recorded with its reason, survived."""

from __future__ import annotations

import errno
import subprocess
import sys
import time

import pytest
import torch

from automl_kd.cluster.failures import MARK, failure_kind_of, limited, lost_device, overdue
from automl_kd.cluster.tune_runner import run_trials
from automl_kd.cluster.tune_searcher import Assignment, Curve
from automl_kd.config import Resources
from automl_kd.errors import AutoMLKDError, CheckpointError, DataError, DivergedError, FileError, TrialError
from automl_kd.spec import Outcome, TrialSpec
from tests import tiny

KINDS = ["diverged", "memory", "data", "storage", "other"]


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DivergedError("nan"), "diverged"),
        (TrialError("no teacher"), "other"),
        (MemoryError(), "memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (torch.AcceleratorError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`", 2), "memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"), "memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), "memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), "memory"),
        (RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED"), "memory"),
        (RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"), "memory"),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700), "other"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"), "other"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_INVALID_VALUE"), "other"),
        (caused(CheckpointError("could not be written"), OSError(errno.ENOSPC, "No space left")), "storage"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "storage"),
        (caused(DataError("not an image"), OSError("image file is truncated (3 bytes not processed)")), "data"),
        (caused(DataError("not read"), OSError(errno.EIO, "Input/output error")), "storage"),
        (caused(DataError("not read"), FileError(errno.ENOENT, "No such file or directory", "a.png")), "data"),
        (caused(CheckpointError("not read"), FileNotFoundError(errno.ENOENT, "No such file or directory")), "storage"),
        (RuntimeError("shapes do not fit"), "other"),
        (AutoMLKDError("something else"), "other"),
    ],
)
def test_errors_are_told_apart(error, reason):
    assert failure_kind_of(error) == reason


def test_a_device_is_lost_by_what_is_no_want_of_memory():
    # After an illegal address or a failed assertion nothing works any more in that process.
    assert lost_device(torch.AcceleratorError("CUDA error: device-side assert triggered", 710))
    assert not lost_device(torch.AcceleratorError("CUDA error: out of memory", 2))
    assert not lost_device(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert not lost_device(RuntimeError("shapes do not fit"))


def test_what_torch_says_without_memory_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert failure_kind_of(caught.value) == "memory"


def test_without_a_limit_and_within_it_nothing_is_left(tmp_path):
    for seconds in (0.0, 600.0):
        with limited(tmp_path / "trial", seconds):
            assert (tmp_path / "trial" / MARK).exists() == bool(seconds)
        assert overdue(tmp_path / "trial") == ""
        assert not (tmp_path / "trial" / MARK).exists()


def test_a_process_that_hangs_is_ended_and_leaves_where_it_was(tmp_path):
    hanging = (
        "import ctypes, pathlib, sys\nfrom automl_kd.cluster.failures import limited\n"
        "def work():\n    with limited(pathlib.Path(sys.argv[1]), 0.2):\n        ctypes.PyDLL(None).sleep(600)\nwork()"
    )
    ended = subprocess.run([sys.executable, "-c", hanging, tmp_path], check=False)
    assert ended.returncode == 1
    assert overdue(tmp_path) == (
        "took longer than trial.timeout_minutes and was ended in work (<string>, line 5); "
        "raise it and set trial.retry_failed"
    )
    assert overdue(tmp_path) == ""  # said once


def test_a_trial_that_somebody_else_killed_was_not_overdue(tmp_path):
    (tmp_path / MARK).touch()
    assert overdue(tmp_path) == ""
    assert not (tmp_path / MARK).exists()


def faulty(fault: str, times: int = 99) -> TrialSpec:
    return tiny.spec(method="tests.cluster.faulty:Faulty", options={"fault": fault, "times": times})


def carried_out(root, specs: list[TrialSpec], resources: Resources) -> dict[str, tuple[Outcome, Curve, int]]:
    """By key: the outcome, the curve, and how often it was attempted."""
    found: dict[str, tuple[Outcome, Curve, int]] = {}

    def on_outcome(spec: TrialSpec, outcome: Outcome, curve: Curve) -> None:
        attempts = root / "trials" / spec.key / "attempts"
        found[spec.key] = outcome, curve, tiny.lines(attempts) if attempts.exists() else 0

    run_trials(
        lambda index: (
            Assignment(spec=specs[index], paths=tiny.place(root, specs[index])) if index < len(specs) else None
        ),
        on_epoch=lambda *_: None,
        on_outcome=on_outcome,
        resources=resources,
        search=None,
        epochs=3,
        scratch=root,
    )
    return found


@pytest.mark.ray
def test_each_kind_is_recorded_and_only_what_may_pass_is_tried_again(ray_session, tmp_path, capfd):
    specs = {kind: faulty(kind) for kind in KINDS}
    passing = {kind: faulty(kind, times=1) for kind in ("memory", "storage")}
    sound = faulty("")
    found = carried_out(
        tmp_path, [*specs.values(), *passing.values(), sound], Resources(device="cpu", max_concurrent=2, retries=1)
    )
    for kind, spec in specs.items():
        outcome, curve, attempts = found[spec.key]
        assert (outcome.status, outcome.failure_kind, outcome.epoch) == ("failed", kind, 1)
        assert outcome.error
        assert list(curve) == [1]
        assert attempts == (2 if kind in passing else 1)
    for spec in passing.values():
        outcome, curve, attempts = found[spec.key]
        assert (outcome.status, outcome.error, outcome.failure_kind, attempts) == ("complete", "", None, 2)
        assert sorted(curve) == [1, 2, 3]
    assert found[sound.key][0].status == "complete"
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.ray
@pytest.mark.parametrize("retries", [0, 2])
def test_a_hanging_trial_is_ended_not_repeated_and_the_rest_goes_on(ray_session, tmp_path, retries):
    hanging, sound = faulty("hang"), faulty("")
    begun = time.monotonic()
    found = carried_out(
        tmp_path, [hanging, sound], Resources(device="cpu", max_concurrent=1, retries=retries, timeout_minutes=0.02)
    )
    assert time.monotonic() - begun < 600  # the sleep that it was in
    outcome, curve, attempts = found[hanging.key]
    assert (outcome.status, outcome.failure_kind, list(curve), attempts) == ("failed", "timeout", [1], 1)
    assert outcome.error.startswith("took longer than trial.timeout_minutes and was ended in go_wrong (faulty.")
    assert found[sound.key][0].status == "complete"
    assert not list(tmp_path.glob("trials/*/overdue.txt"))
