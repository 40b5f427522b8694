"""Teacher and students side by side, and what the experiment cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from automl_kd.decision.candidates import JudgedExperiment, MeasuredLatencies, StudentCandidate
from automl_kd.decision.usage import read_export_record
from automl_kd.export.folder import INT8, ONNX, PARITY, PT2, WEIGHTS
from automl_kd.results import units
from automl_kd.results.comparison.comparison import Comparison
from automl_kd.results.comparison.table import stage_sheet
from automl_kd.results.sheet import Column, Sheet
from automl_kd.results.verdict.distillation_table import distillation_cost_sheet
from automl_kd.results.verdict.table import cost_table
from automl_kd.results.verdict.teacher import teacher_of

WEIGHT_BYTES = 4
"""Of one parameter in float32."""

SIZES_NOTE = "MB: the parameters in float32, 10^6 bytes."


class TeacherFacts(NamedTuple):
    """The teacher as its row has it; NaN where that is not known. `label`: empty without a row."""

    label: str
    test: float
    params: float
    macs: float
    latency_ms: float


def read_teacher_facts(rows: pd.DataFrame) -> TeacherFacts:
    """Of the teacher that was measured or trained last."""
    known = rows[(rows["trial_kind"] == "teacher") & (rows["status"] == "complete")]
    if known.empty:
        return TeacherFacts("", *[math.nan] * 4)
    row = known.iloc[-1]
    judged = teacher_of(known)
    columns = ("test_accuracy", *TeacherFacts._fields[2:])
    numbers = (math.nan if units.missing(row[name]) else float(row[name]) for name in columns)
    return TeacherFacts(judged.label if judged else str(row["student"]), *numbers)


def candidates_sheet(
    experiment: JudgedExperiment,
    chosen: StudentCandidate | None,
    latencies: MeasuredLatencies | None,
    int8_bytes: Mapping[str, int],
) -> Sheet:
    """The teacher first, then all candidates. `int8_bytes`: of files in eight bits, by role."""
    facts = read_teacher_facts(experiment.rows)
    timed = any(one.latency_ms for one in experiment.candidates)
    titles = ["test, %", "seeds", "size, MB", "int8 file, MB", "latency, ms", "multiply-adds", "parameters", "epochs"]
    dropped = set() if int8_bytes else {"int8 file, MB"}
    dropped |= set() if timed else {"latency, ms"}
    lines = [{"": "teacher", **teacher_cells(facts, latencies), "network": facts.label}] if facts.label else []
    lines += [
        {
            "": f"{one.title} (recommended)" if one is chosen else one.title,
            **candidate_cells(one, int8_bytes),
            "network": one.student,
        }
        for one in experiment.candidates
    ]
    shown = [title for title in titles if title not in dropped]
    columns = (Column(""), *(Column(title, numeric=True) for title in shown), Column("network"))
    return Sheet(columns, tuple(tuple(line[column.name] for column in columns) for line in lines))


def teacher_cells(facts: TeacherFacts, latencies: MeasuredLatencies | None) -> dict[str, str]:
    return {
        "test, %": units.percent(facts.test),
        "seeds": units.MISSING,
        "size, MB": write_megabytes(facts.params * WEIGHT_BYTES),
        "int8 file, MB": units.MISSING,
        "latency, ms": units.milliseconds(latencies.teacher if latencies else facts.latency_ms),
        "multiply-adds": units.format_count(facts.macs),
        "parameters": units.format_count(facts.params),
        "epochs": units.MISSING,
    }


def candidate_cells(one: StudentCandidate, int8_bytes: Mapping[str, int]) -> dict[str, str]:
    return {
        "test, %": units.percent_interval(one.test.mean, one.test.half_width),
        "seeds": str(one.test.n),
        "size, MB": write_megabytes(one.params * WEIGHT_BYTES if one.params else None),
        "int8 file, MB": write_megabytes(int8_bytes.get(one.role)),
        "latency, ms": units.milliseconds(one.latency_ms),
        "multiply-adds": units.format_count(one.macs),
        "parameters": units.format_count(one.params),
        "epochs": one.length,
    }


def write_megabytes(size: float | None) -> str:
    """1769032 bytes are "1.77"."""
    if size is None or units.missing(size):
        return units.MISSING
    megabytes = size / 1e6
    return f"{megabytes:.2f}" if megabytes < 99.95 else f"{megabytes:.0f}"


def files_sheet(export_folder: Path) -> Sheet:
    """The files of an export: their sizes, and how often what they hold is right on validation images."""
    parity = read_export_record(export_folder, PARITY).get("files", {})
    accuracies = {name: passes[0]["accuracy"] for name, passes in parity.items()}
    if parity:
        accuracies[WEIGHTS] = next(iter(parity.values()))[0]["student_accuracy"]
    lines = [
        (
            name,
            write_megabytes((export_folder / name).stat().st_size),
            units.percent(accuracies.get(name)),
        )
        for name in (WEIGHTS, ONNX, INT8, PT2)
        if (export_folder / name).exists()
    ]
    return Sheet(
        (Column("file"), Column("size, MB", numeric=True), Column("right on validation, %", numeric=True)), tuple(lines)
    )


def list_stage_costs(experiment: JudgedExperiment) -> Sheet:
    """Trials, time and multiply-adds of each stage."""
    judged = experiment.judged
    if isinstance(judged, Comparison):
        return stage_sheet(judged)
    return distillation_cost_sheet(judged) if judged.distilled else cost_table(judged)


def cost_sentences(experiment: JudgedExperiment) -> Iterator[str]:
    judged = experiment.judged
    if not isinstance(judged, Comparison) and judged.cost_sentence:
        yield judged.cost_sentence
    if (span := wall_hours(experiment.rows)) > 0:
        trained = float(experiment.rows.drop_duplicates(["trial_kind", "key"])["seconds"].sum()) / 3600
        yield (
            f"From the first trial's start to the last one's end {span:.1f} h went by, and trials trained for "
            f"{trained:.1f} h, beside each other or one by one."
        )


def wall_hours(rows: pd.DataFrame) -> float:
    """From the first start to the last end that rows tell of, in hours, pauses included; 0 where they tell nothing."""
    known = rows.dropna(subset=["started"])
    if known.empty:
        return 0.0
    ends = [
        start + timedelta(seconds=float(spent))
        for start, spent in zip(known["started"], known["seconds"].fillna(0.0), strict=True)
    ]
    return float((max(ends) - known["started"].min()).total_seconds() / 3600)
