"""Every measurement in this folder, one after another: `python -m benchmarks.perf` from the project's root."""

from __future__ import annotations

from benchmarks.perf import (
    distpro,
    hypergradient,
    input_adapter,
    lkd_prokt,
    loader,
    loop,
    overhead,
    recipe_step,
    runner,
    table,
    tables,
    tabular,
    teacher_cache,
)
from benchmarks.perf.launches import __main__ as launches
from benchmarks.perf.proxies import diswot, part_cache, scoring_pool

if __name__ == "__main__":
    diswot.main()
    part_cache.main()
    table.main()
    tabular.main()
    hypergradient.main()
    distpro.main()
    lkd_prokt.main()
    loop.main()
    input_adapter.main()
    recipe_step.main()
    loader.main()
    teacher_cache.main()
    tables.main()
    launches.main()
    runner.main()
    scoring_pool.main()
    overhead.main()
