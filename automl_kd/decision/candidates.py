"""The candidates: the trained networks of an experiment of which one may be shipped, with what they reach and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from automl_kd.errors import ResultError
from automl_kd.results import units
from automl_kd.results.comparison.comparison import Comparison, comparison_of, record_of
from automl_kd.results.comparison.entries import ComparisonEntry
from automl_kd.results.published import stand_in_sentence
from automl_kd.results.statistics.interval import Estimate
from automl_kd.results.store.folder import of_this_comparison
from automl_kd.results.store.scores import read_scores
from automl_kd.results.store.table import ResultTable
from automl_kd.results.verdict.arms import ARMS, Arm, describe_teaching
from automl_kd.results.verdict.distillation import distillation_arms, judged_role, training_title
from automl_kd.results.verdict.gain import Verdict, judge_search
from automl_kd.results.verdict.readings import rows_in
from automl_kd.spec import FinalRole

PRUNED_METHOD = "subgraph"
"""The method whose student is a part of its teacher."""

CandidateKind = Literal[
    "found", "found-scratch", "found-labels", "found-fresh", "default-kd", "default-scratch", "pruned", "method"
]
"""What a candidate is to the one who chooses. "method": another method of a comparison."""

ROLE_KINDS: Mapping[FinalRole, CandidateKind] = {
    "default-scratch": "default-scratch",
    "default-kd": "default-kd",
    "found-scratch": "found-scratch",
    "found-labels": "found-labels",
    "found-fresh": "found-fresh",
    "found-method": "found",
}


@dataclass(frozen=True, kw_only=True)
class MeasuredLatencies:
    """Latencies of the user's device, in ms for one image. `device`: its name for people, with runtime and threads.

    `students`: by `architecture_id`.
    """

    device: str
    students: Mapping[str, float] = field(default_factory=dict)
    teacher: float | None = None


@dataclass(frozen=True, kw_only=True)
class StudentCandidate:
    """One trained network. `title`: of its line in a table; `phrase`: in a sentence, with its article.

    `accuracy`: on test, by seed; `val`: mean on validation. `params`, `macs`, `latency_ms`: None where not known.
    `role`: of its rows.
    """

    kind: CandidateKind
    role: str
    title: str
    phrase: str
    student: str
    teaching: str
    architecture_id: str
    accuracy: Mapping[int, float]
    test: Estimate
    val: float
    length: str
    params: float | None = None
    macs: float | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class JudgedExperiment:
    """A finished experiment as its rows tell it. `rows`: all; `finals`: complete finals of the judged reading.

    `judged`: the verdict, or of several methods the comparison. `found`: the candidate that the experiment ended with;
    None without one. `stand_in`: that nothing follows from these numbers, or empty. `device`: where latencies are of.
    """

    folder: Path
    record: Mapping[str, Any]
    rows: pd.DataFrame
    finals: pd.DataFrame
    judged: Verdict | Comparison
    candidates: tuple[StudentCandidate, ...]
    found: StudentCandidate | None
    stand_in: str
    device: str

    @staticmethod
    def read(folder: Path, latencies: MeasuredLatencies | None = None) -> JudgedExperiment:
        """`ResultError` for a folder without rows of an experiment."""
        rows = of_this_comparison(folder, ResultTable(folder).read())
        if rows.empty:
            raise ResultError(f"{folder} holds no results; give the folder of an experiment that was run")
        record = record_of(folder)
        compared = comparison_of(folder, rows)
        judged = compared or judge_search(rows, scores=read_scores(folder), record=record)
        finals = rows_in(rows[rows["trial_kind"] == "final"], judged.reading)
        finals = finals[finals["status"] == "complete"]
        finals = judged.rows_of_standing(finals) if isinstance(judged, Comparison) else finals
        found, candidates = gather_candidates(judged, finals)
        placed = {one.role: with_costs(one, finals, latencies) for one in candidates}
        return JudgedExperiment(
            folder=folder,
            record=record,
            rows=rows,
            finals=finals,
            judged=judged,
            candidates=tuple(placed.values()),
            found=placed.get(found),
            stand_in=stand_in_sentence(record),
            device=latencies.device if latencies else name_devices(finals),
        )


def gather_candidates(judged: Verdict | Comparison, finals: pd.DataFrame) -> tuple[str, list[StudentCandidate]]:
    """The role of the found one, and all."""
    if isinstance(judged, Comparison):
        best = judged.best
        return best.compared_method.name if best else "", [
            of_entry(one, judged.reference.name, finals) for one in judged.standing.values()
        ]
    arms = distillation_arms(judged.arms) if judged.distilled else judged.arms
    found = judged_role(arms) if judged.distilled else "found-method"
    return found, [of_arm(role, one, distilled=judged.distilled) for role, one in arms.items()]


def of_arm(role: FinalRole, one: Arm, *, distilled: bool) -> StudentCandidate:
    teaching = describe_teaching(one)
    pruned = one.method == PRUNED_METHOD
    return StudentCandidate(
        kind="pruned" if pruned else ROLE_KINDS[role],
        role=role,
        title=training_title(role, one) if distilled else ARMS[role],
        phrase=phrase_of(role, one, distilled=distilled) if not pruned else f"the pruned teacher ({one.student})",
        student=one.student,
        teaching=teaching,
        architecture_id=one.architecture_id,
        accuracy=one.accuracy,
        test=one.test,
        val=one.val.mean,
        length=one.length,
        params=one.params,
    )


def phrase_of(role: FinalRole, one: Arm, *, distilled: bool) -> str:
    teaching = describe_teaching(one)
    student = "the student" if distilled else f"the {role.partition('-')[0]} student"
    if role.endswith("scratch"):
        return f"{student} trained from scratch"
    if role == "default-kd":
        return f"{student} with plain KD{units.beginning(one.init)}"
    if role == "found-labels":
        return f"{student} trained {teaching.replace('scratch', 'on labels alone', 1)}"
    return f"{student} trained by {teaching}" + " from fresh weights" * (role == "found-fresh")


def of_entry(one: ComparisonEntry, reference: str, finals: pd.DataFrame) -> StudentCandidate:
    """One method of a comparison, whose reference stands where a search has its default student with plain KD."""
    method = one.compared_method
    ours = finals[finals["role"] == method.name]
    kind: CandidateKind = "default-kd" if method.name == reference else "method"
    begun = ours["init"].fillna("").ne("").any()
    untaught: CandidateKind = "found-labels" if begun else "default-scratch"
    kind = {"scratch": untaught, PRUNED_METHOD: "pruned"}.get(method.method, kind)
    return StudentCandidate(
        kind=kind,
        role=method.name,
        title=one.title,
        phrase=f"the pruned teacher ({one.title})" if kind == "pruned" else f"the student by {one.title}",
        student=one.student,
        teaching=one.title,
        architecture_id=str(ours["architecture_id"].iloc[-1]) if len(ours) else "",
        accuracy=one.accuracy,
        test=one.test,
        val=one.val_mean,
        length=one.length,
        params=one.params,
    )


def with_costs(one: StudentCandidate, finals: pd.DataFrame, latencies: MeasuredLatencies | None) -> StudentCandidate:
    """With multiply-adds and latency: medians over the trainings of its architecture, which cost the same."""
    ours = finals[finals["architecture_id"] == one.architecture_id]
    latency = latencies.students.get(one.architecture_id) if latencies else middle_of(ours, "latency_ms")
    macs, params = middle_of(ours, "macs"), middle_of(ours, "params")
    known = {"macs": macs or one.macs, "params": one.params or params, "latency_ms": latency}
    if not latencies and latency is None:
        known["latency_ms"] = one.latency_ms
    return StudentCandidate(**{**vars(one), **known})


def middle_of(rows: pd.DataFrame, column: str) -> float | None:
    """The median of what is known."""
    values = rows[column].dropna().astype(float)
    return float(values.median()) if len(values) else None


def name_devices(finals: pd.DataFrame) -> str:
    """The device of the latencies in rows, such as "cpu AMD EPYC, 1 thread"; empty without.

    Of predicted ones the device of the profile.
    """
    measured = finals[finals["latency_ms"].notna()]
    if predicted := list(dict.fromkeys(measured["latency_device"].dropna().astype(str))):
        return f"{', '.join(predicted)}, predicted"
    devices = ", ".join(dict.fromkeys(measured["device"].dropna().astype(str)))
    threads: Sequence[int] = sorted(set(measured["latency_threads"].dropna().astype(int)))
    if not devices or not threads:
        return devices
    return f"{devices}, {' or '.join(map(str, threads))} thread{'s' * (threads != [1])}"
