"""`python -m tests.fuzz [PART OF A NAME ...]`: all cases, or those whose names hold one of the parts."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.fuzz.cases import CASES
from tests.fuzz.running import fault_of


def main(parts: Sequence[str]) -> int:
    """Say what is wrong; how many cases are."""
    chosen = [case for case in CASES if not parts or any(part in case.name for part in parts)]
    wrong = 0
    for case in chosen:
        if fault := fault_of(case):
            wrong += 1
            print(fault, end="\n\n", flush=True)
    print(f"{len(chosen)} cases, {wrong} wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
