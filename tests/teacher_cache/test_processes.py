"""Processes at one bank, one of them killed half-way through a slot: all their trials come to the bits of lone ones."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from automl_kd.space import Architecture
from automl_kd.spec import TeacherCacheOptions, TrialSpec
from tests import ROOT
from tests.conformance.trials import EPOCHS, difference, quick, spec_of
from tests.teacher_cache.test_cached_teacher import STEPS, TAPS, left, trained

__all__ = ["quick"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick")]

PROGRAM = """
import os, signal, sys
from pathlib import Path
from automl_kd.spec import TrialSpec
from tests.teacher_cache.test_cached_teacher import TAPS, trained

root, folder, text, last = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
write, calls = os.pwritev, [0]

def torn(file, buffers, offset):
    calls[0] += 1
    if calls[0] == last:
        whole = b"".join(map(bytes, buffers))
        os.pwrite(file, whole[: len(whole) // 2], offset)
        os.kill(os.getpid(), signal.SIGKILL)
    return write(file, buffers, offset)

os.pwritev = torn
trained(root, TrialSpec.from_json(text), folder, TAPS)
"""


def process(root: Path, spec: TrialSpec, folder: str, *, last: int = 0) -> subprocess.Popen[bytes]:
    """A trial in a process of its own, which kills itself in the middle of its write number `last`."""
    given = [sys.executable, "-c", PROGRAM, str(root), folder, spec.to_json(), str(last)]
    return subprocess.Popen(given, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.parametrize("name", ["kd", "texts kd"])
def test_killed_in_the_middle_of_a_write_and_continued_beside_another_trial(tmp_path, name: str):
    one = spec_of(name, tmp_path)
    two = dataclasses.replace(one, architecture=Architecture.of({"width": 9}))
    assert process(tmp_path, one, "one", last=4).wait() == -signal.SIGKILL
    other = process(tmp_path, two, "two")
    last = trained(tmp_path, one, "one", TAPS).seen[EPOCHS]
    assert other.wait() == 0
    assert last["teacher_passes"] + last["teacher_passes_saved"] == EPOCHS * STEPS
    third = dataclasses.replace(one, recipe=dataclasses.replace(one.recipe, lr=0.01))
    assert trained(tmp_path, third, "three", TAPS).seen[EPOCHS]["teacher_passes"] == 0
    for spec, folder in ((one, "one"), (two, "two"), (third, "three")):
        trained(tmp_path, spec, f"{folder} alone", TeacherCacheOptions(keep="off"))
        assert not difference(left(tmp_path / f"{folder} alone"), left(tmp_path / folder))
