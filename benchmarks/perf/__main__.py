"""Every measurement in this folder, one after another: `python -m benchmarks.perf` from the project's root."""

from __future__ import annotations

from benchmarks.perf import (
    distpro,
    hypergradient,
    input_adapter,
    lkd_prokt,
    loop,
    overhead,
    pick,
    runner,
    table,
    tables,
    tabular,
    teacher_cache,
)
from benchmarks.perf.launches import __main__ as launches
from benchmarks.perf.proxies import diswot, part_cache, scoring_pool
from benchmarks.perf.streaming import card, first_batch, loader, memory, recipe_step, resident, sharing
from benchmarks.perf.texts import search, steps, trainer

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
    sharing.main()
    first_batch.main()
    memory.main()
    resident.main()
    card.main()
    teacher_cache.main()
    steps.main()
    search.main()
    trainer.main()
    tables.main()
    pick.main()
    launches.main()
    runner.main()
    scoring_pool.main()
    overhead.main()
