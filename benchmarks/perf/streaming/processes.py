"""Processor time and memory of processes, those included that were started to go on alone, as the decoding process is.

From /proc, so on Linux alone.
"""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

SUBREAPER = 36
"""The option of prctl(2) by which orphans below this process become its children."""

SETTLED_SECONDS = 0.2
MIB = 2**20


def adopt_orphans() -> None:
    """From now on `descendants` of this process include those whose parents have ended."""
    if ctypes.CDLL(None, use_errno=True).prctl(SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this process cannot adopt orphans")


def stat_fields(process: int) -> list[str]:
    """Of /proc/PROCESS/stat, from the state on; empty for a process that has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def seconds_of(process: int) -> float:
    """User and system time of a process that is there."""
    fields = stat_fields(process)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descendants(process: int) -> list[int]:
    """Children of a process, their children and so on."""
    parents = {int(one.name): stat_fields(int(one.name)) for one in Path("/proc").iterdir() if one.name.isdigit()}
    found = [process]
    for one in found:
        found += [child for child, fields in parents.items() if fields and int(fields[1]) == one]
    return found[1:]


def seconds_below() -> float:
    """User and system time of this process, of the children that it waited for, and of all that are there."""
    times = os.times()
    below = [fields for one in descendants(os.getpid()) if (fields := stat_fields(one))]
    elsewhere = sum(int(number) for fields in below for number in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return times.user + times.system + times.children_user + times.children_system + elsewhere


def settled_seconds() -> float:
    """`seconds_below`, once what was decoded ahead is decoded: nothing happens while this process sleeps."""
    before = -1.0
    while (now := sum(map(seconds_of, descendants(os.getpid())))) != before:
        before = now
        time.sleep(SETTLED_SECONDS)
    return seconds_below()


def memory_of(process: int) -> float:
    """MiB of RssAnon and RssShmem; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:"))) / 1024


def files_in_memory(process: int, name: str) -> float:
    """MiB of the files of memory called `name` that a process has open, which are nobody's resident memory."""
    size = 0
    try:
        for link in Path(f"/proc/{process}/fd").iterdir():
            try:
                if str(link.readlink()).startswith(f"/memfd:{name}"):
                    size += link.stat().st_blocks * 512
            except FileNotFoundError:  # closed meanwhile
                continue
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0.0
    return size / MIB
