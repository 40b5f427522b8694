"""What the worker that trained a student adds to the report of its last epoch."""

from __future__ import annotations

from typing import Any

from automl_kd.cluster.tune_searcher import Assignment, Metrics
from automl_kd.export import measure_int8


def complete_report(assignment: Assignment, metrics: Metrics, epoch: int) -> dict[str, Any]:
    """What Tune is told of `epoch`: its metrics, and after the last one those in eight bits, if they are asked for.

    The report waits for them, so a scheduler and the rows have them as any others. "note": why there are none.
    """
    spec, paths = assignment.spec, assignment.paths
    report: dict[str, Any] = {**metrics, "epoch": epoch}
    if not paths.int8 or epoch != spec.recipe.epochs:
        return report
    measured = measure_int8(spec, paths)
    return {**report, **measured.metrics, "note": measured.note}
