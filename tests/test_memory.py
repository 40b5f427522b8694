"""Memory that stays in the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# Frees and takes eight blocks of 16 MiB again and again; prints how many pages the system had to hand out for that.
PROGRAM = """
import resource
import torch
from automl_kd.memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

told = {told}
def step():
    blocks = [torch.ones(1 << 22) for _ in range(8)]
    del blocks

for _ in range(3):
    step()
before = faults()
for _ in range(20):
    step()
print(told, faults() - before)
"""


def pages(told: str, **environment: str) -> tuple[str, int]:
    text = subprocess.check_output([sys.executable, "-c", PROGRAM.format(told=told)], text=True, env=environment)
    word, count = text.split()
    return word, int(count)


def test_freed_blocks_are_used_again():
    word, kept = pages("keep_freed_memory()")
    if word == "False":
        pytest.skip("the allocator is not glibc's")
    _, returned = pages("None")
    if not returned:
        pytest.skip("this system kept the pages of its own accord")
    assert kept * 10 < returned


def test_the_users_own_settings_stay():
    assert pages("keep_freed_memory()", MALLOC_ARENA_MAX="2")[0] == "False"


# A thread takes and frees blocks of 8 MiB; prints the MiB that the process holds before, then, and after their return.
THREAD = """
import threading
import torch
from automl_kd.memory import keep_freed_memory, return_freed_memory

def held():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024

def trial():
    blocks = [torch.ones(1 << 21) for _ in range(40)]

keep_freed_memory()
before = held()
thread = threading.Thread(target=trial)
thread.start()
thread.join()
kept = held()
print(before, kept, held() if return_freed_memory() else -1)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory of a process is read from /proc")
def test_what_a_trial_freed_is_returned_after_it():
    text = subprocess.check_output([sys.executable, "-c", THREAD], text=True, env={})
    before, kept, left = map(int, text.split())
    if left == -1 or kept - before < 200:
        pytest.skip("this system's allocator keeps nothing")
    assert left - before < (kept - before) / 3
