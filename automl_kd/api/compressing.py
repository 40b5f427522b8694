"""From a teacher, images and hours to a student in a folder to hand on: plan, search, comparison, export."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automl_kd import experiment as stages
from automl_kd import files, storage
from automl_kd.api.images import name_data
from automl_kd.api.objects import name_space, removed_on_error
from automl_kd.api.progress import Progress, watcher_of
from automl_kd.api.records import Teacher
from automl_kd.api.result import Result
from automl_kd.api.run import folder_of, program_folder, roots_of, teacher_section
from automl_kd.api.settings import overrides_of
from automl_kd.compression import (
    CompressRequest,
    KeptPlan,
    Timekeeper,
    forecast_seconds,
    make_plan,
    open_plan,
    plan_lines,
)
from automl_kd.compression.final_latencies import time_students
from automl_kd.compression.opening import OWN_PROFILE
from automl_kd.config import Budget, Experiment, make_name
from automl_kd.decision import (
    JudgedExperiment,
    MeasuredLatencies,
    Recommendation,
    recommend_candidate,
    write_decision_page,
)
from automl_kd.errors import DataError, ExportError, RecordError, ResultError
from automl_kd.experiment.progress.events import Watcher
from automl_kd.experiment.progress.loading_stages import LoadingStages
from automl_kd.export import ExportOptions, write_differing
from automl_kd.export.folder import INT8, check_packages
from automl_kd.profiling import DeviceProfile
from automl_kd.registry import search_beside
from automl_kd.results.store.folder import in_use

if TYPE_CHECKING:
    from automl_kd.api.run import Data, TeacherLike
    from automl_kd.space import SearchSpace

STUDENT_FOLDER, REPEATING_FILE, DECISION_PAGE = "student", "experiment.toml", "decision.html"
"""In the folder of the experiment: what is handed on, what repeats the search, and the page for whoever decides."""

REPEATING_HEAD = (
    "What automl-kd compress made of its hours; automl-kd search runs it again, with the same trials and lengths."
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Compressed(Result):
    """The result of a compression. `student_folder`: what to hand on, the student that `advice` chooses.

    `advice`: what to ship, in words, by the differences on test. `spent`: seconds by stage, over all sessions;
    `forecast`: of all of them, by the plan.
    """

    student_folder: Path
    advice: Recommendation
    spent: Mapping[str, float]
    forecast: float


@dataclass(frozen=True, eq=False)
class PlannedCompression:
    """What will be done. `lines`: the plan in words."""

    experiment: Experiment
    keeper: Timekeeper
    roots: stages.Roots
    lines: tuple[str, ...]

    @property
    def kept(self) -> KeptPlan:
        return self.keeper.kept

    @property
    def folder(self) -> Path:
        return self.roots.folder_of(self.experiment.name)


def compress(
    teacher: TeacherLike,
    data: Data,
    *,
    out: Path | str,
    budget: Budget | None = None,
    hours: float = 2.0,
    space: str | SearchSpace = "",
    epochs: int = 0,
    seeds: int = 0,
    int8: bool = False,
    settings: Mapping[str, Any] | None = None,
    data_root: Path | str = "data",
    address: str = "",
    progress: Progress = "lines",
    accept_teacher: bool = False,
) -> Compressed:
    """Find a student for `teacher` within limits and hours, compare it with its baselines, and export it.

    The same call continues a compression that was interrupted.

    `teacher`, `data`: as of `search`. `out`: the folder of this compression; the student lies in its folder `student`.
    `budget`: what the student may cost; for a latency without a profile one of this machine is made. `hours` (above
    0): of wall-clock time for everything, over all calls. `space`: of students; empty takes one for the size of the
    images. Their resolution is data's; for files without one it is the largest for which there is time. `epochs`,
    `seeds`: of each final; 0 as many as fit. `int8`: also a graph in eight bits.
    All others: as of `search`. An `AutoMLKDError` says in one sentence what cannot be carried out.
    """
    folder = folder_of(out)
    search_beside(Path(), *program_folder())
    with removed_on_error(folder):
        described = teacher if isinstance(teacher, Teacher) else Teacher(teacher)
        sections = {"teacher": teacher_section(described, folder), "data": name_data(data, folder)}
        students = name_space(space, folder) if space else ""
    request = make_request(
        name=make_name(folder.name),
        **sections,
        budget=budget or Budget(),
        hours=hours,
        space=students,
        epochs=epochs,
        seeds=seeds,
        overrides=tuple(overrides_of(settings)),
    )
    options = ExportOptions(int8=int8)
    planned = plan_compression(request, roots_of(folder, data_root), watcher_of(progress), options, address=address)
    for line in planned.lines:
        planned.keeper.note(line)
    return carry_out_compression(planned, options, address=address, accept_teacher=accept_teacher)


def make_request(**fields: Any) -> CompressRequest:
    """`RecordError` for a number out of its range."""
    try:
        return CompressRequest(**fields)
    except ValueError as error:
        raise RecordError(f"compress: {error}") from error


def plan_compression(
    request: CompressRequest, roots: stages.Roots, watcher: Watcher, options: ExportOptions, *, address: str = ""
) -> PlannedCompression:
    """Plan it, or go on with the plan of an earlier session; nothing is trained for good.

    `ConfigError` or `ExportError` for what cannot be done, in the end or in these hours; nothing is left then.
    """
    check_packages(options)
    folder = roots.folder_of(request.name)
    if in_use(folder):
        raise ResultError(f"another process is writing to {folder}; wait for it, or give another --name or --out")
    kept = open_plan(request, folder)
    keeper = Timekeeper(kept, request.hours, watcher)
    if kept.plan is not None:
        bring_profile(kept, folder)
        experiment = request.experiment(kept.sections)
        spent = f"{kept.seconds / 3600:.2g} of {request.hours:g} hours are spent"
        return PlannedCompression(experiment, keeper, roots, (f"the plan of an earlier session goes on: {spent}",))
    there = folder.exists()
    try:
        experiment = make_plan(request, kept, roots, keeper, options=options, address=address)
    finally:
        if not there:
            with suppress(OSError):
                folder.rmdir()
    assert kept.plan is not None  # make_plan fills it in
    assert kept.speed is not None
    keeper.count()
    return PlannedCompression(
        experiment, keeper, roots, tuple(plan_lines(experiment, kept.plan, kept.speed, kept.seconds))
    )


def bring_profile(kept: KeptPlan, folder: Path) -> None:
    """A profile that was made for this compression lies in `folder`, wherever that is by now."""
    budget = kept.sections.get("budget", {})
    if (name := Path(budget.get("profile", "")).name).startswith(OWN_PROFILE):
        storage.pull_file(folder / name)
        kept.sections["budget"] = {**budget, "profile": str(folder / name)}


def carry_out_compression(
    planned: PlannedCompression,
    options: ExportOptions,
    *,
    command: str = "",
    address: str = "",
    accept_teacher: bool = False,
) -> Compressed:
    """Run what is planned, or what is left of it, and write the student's folder and the page.

    `command`: what the user typed, for the page. `ResultError` if no training came through.
    """
    keeper, folder = planned.keeper, planned.folder
    keeper.begin("search" if planned.kept.finals is None else "finals")
    stages.run_stages(
        planned.experiment, planned.roots, keeper, address=address, accept_teacher=accept_teacher, steering=keeper
    )
    keeper.begin("export")
    result = Result(folder, planned.roots.data)
    write_repeating_file(planned)
    advice = recommend_candidate(JudgedExperiment.read(folder))
    latencies = measure_finals(planned, result)
    student = folder / STUDENT_FOLDER
    try:
        export_chosen(student, result, advice, options, keeper)
    except (ExportError, DataError):  # such as images that lie elsewhere by now
        keeper.note(f"{DECISION_PAGE} is written, though the student is not")
        write_page_of(planned, command, latencies)
        raise
    keeper.begin("page")
    write_page_of(planned, command, latencies)
    keeper.begin("done")
    kept = planned.kept
    assert kept.plan is not None
    assert kept.speed is not None
    forecast = forecast_seconds(kept.plan, kept.speed, kept.spent.get("preflight", 0.0))
    spent = {name: seconds for name, seconds in planned.kept.spent.items() if name != "done"}
    return Compressed(folder, planned.roots.data, student_folder=student, advice=advice, spent=spent, forecast=forecast)


def export_chosen(
    student: Path, result: Result, advice: Recommendation, options: ExportOptions, watcher: Watcher
) -> None:
    """Write the folder of the student that `advice` chooses, unless it is there with all that `options` ask for."""
    if options.int8 and student.exists() and not (student / INT8).exists():
        watcher.note(f"{student} is written anew, as it has no {INT8}")
        shutil.rmtree(student)
    if student.exists():
        return
    best = result.best if advice.chosen is None else result.best_of(advice.chosen.role)

    def export(options: ExportOptions) -> None:
        best.export_as(student, options, lambda what: watcher.stage(what, 1), trusted=True)

    try:
        export(options)
    except ExportError as error:
        if not options.int8:
            raise
        export(dataclasses.replace(options, int8=False))
        watcher.note(f"{student} is written without {INT8}: {error}")
    for file in sorted(student.rglob("*")):
        if file.is_file():
            storage.push(file)


def measure_finals(planned: PlannedCompression, result: Result) -> MeasuredLatencies | None:
    """What the students of the comparison take on this machine, if it is the device that they are for."""
    file = Path(planned.experiment.budget.profile)
    if not file.name.startswith(OWN_PROFILE):
        return None
    profile = DeviceProfile.read(file)
    planned.keeper.stage("measuring the students of the comparison, alone", 1)
    finals = result.complete_finals.drop_duplicates("architecture_id")
    trials = {str(row["architecture_id"]): result.folder / "trials" / str(row["key"]) for _, row in finals.iterrows()}
    students = time_students(trials, result.data_root, profile.threads, planned.keeper.note)
    return MeasuredLatencies(device=profile.label, students=students) if students else None


def write_page_of(planned: PlannedCompression, command: str, latencies: MeasuredLatencies | None) -> None:
    """The page for whoever decides; it names the command that repeats all of this, and the file that does."""
    folder, keeper = planned.folder, planned.keeper
    again = f"automl-kd search {shlex.quote(storage.name_addresses(str(folder / REPEATING_FILE)))} --out OTHER"
    write_decision_page(
        folder,
        planned.roots.data,
        folder / DECISION_PAGE,
        export_folder=folder / STUDENT_FOLDER if (folder / STUDENT_FOLDER).exists() else None,
        latencies=latencies,
        commands=[*([command] if command else []), again],
        trusted=True,
        notify=LoadingStages(keeper),
    )
    storage.push(folder / DECISION_PAGE)


def write_repeating_file(planned: PlannedCompression) -> None:
    """The experiment as it was carried out: the trials that were begun, the finals as they were settled."""
    settled, own = planned.experiment, Path(planned.experiment.budget.profile).name
    if own.startswith(OWN_PROFILE):  # which lies beside this file
        settled = dataclasses.replace(settled, budget=dataclasses.replace(settled.budget, profile=own))
    if begun := len(files.whole_lines(planned.folder / "proposals.jsonl")):
        settled = dataclasses.replace(settled, search=dataclasses.replace(settled.search, trials=begun))
    if (finals := planned.kept.finals) is not None:
        settled = dataclasses.replace(settled, finalists=finals.applied(settled.finalists))
    storage.write(planned.folder / REPEATING_FILE, write_differing(settled, REPEATING_HEAD))
