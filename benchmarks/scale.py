"""Two hundred trials on eight simulated nodes that are lost at random: python benchmarks/scale.py."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from benchmarks.faults.scale import main

    main()
