"""What the worker that trained a student adds to the report of its last epoch."""

from __future__ import annotations

from typing import Any

from automl_kd.cluster.tune_searcher import Assignment, Metrics
from automl_kd.export import measure_int8
from automl_kd.spec import REMARK_FILE


def complete_report(assignment: Assignment, metrics: Metrics, epoch: int) -> dict[str, Any]:
    """What Tune is told of `epoch`: its metrics, and after the last one those in eight bits, if they are asked for.

    The report waits for them, so a scheduler and the rows have them as any others. "note": why there are none.
    "remark": what the method has left to say of its own search.
    """
    spec, paths = assignment.spec, assignment.paths
    report: dict[str, Any] = {**metrics, "epoch": epoch}
    if epoch != spec.recipe.epochs:
        return report
    file = paths.trial / REMARK_FILE
    if file.exists():
        report["remark"] = file.read_text(encoding="utf-8")
    if not paths.int8:
        return report
    measured = measure_int8(spec, paths)
    return {**report, **measured.metrics, "note": measured.note}
