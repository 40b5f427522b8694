"""Kill a real search at random instants and check that nothing is lost: python benchmarks/torture.py --kills 100."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from benchmarks.faults.torture import main

    main()
