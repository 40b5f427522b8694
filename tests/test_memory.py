"""Memory that stays in the process."""

from __future__ import annotations

import subprocess
import sys

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
