"""The reading of an archive: rows become trained students, tables of scores become ranked ones."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from automl_kd.errors import ResultError
from automl_kd.results.archive.folders import ArchiveFolder, archive_folders
from automl_kd.results.archive.scored import Latencies, ScoredStudents, find_values, read_scored
from automl_kd.results.archive.students import FROM_PARENT, StudentCosts, TrainedStudent
from automl_kd.results.published import stand_in_sentence
from automl_kd.results.store.table import ResultTable
from automl_kd.results.units import some

ONE_TEACHING = ("space", "architecture_id", "method", "options_json", "init", "schedule_json", "config_hash")
"""What the trainings of one trained student have in common, beside their length."""

TRIAL_COLUMNS = (
    *ONE_TEACHING,
    *("trial_kind", "role", "key", "status", "values_json", "student", "dataset", "seed", "stand_in", "epochs"),
    *("epochs_done", "last_epoch", "compute_fraction", "val_accuracy", "test_accuracy", "params", "macs"),
    *("latency_ms", "latency_batch", "latency_threads", "device", "val_images", "metric"),
)

TrialRow = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What there is to choose among. `places`, `device`: as they were given.

    `trained`: in no order. `scored`: of each folder with scores. `devices`: where latencies were measured, with how
    many images and threads, the most frequent first; `latencies` are those of the first. `left_out`: what stands in
    neither, and how much of it. `metric`: what stands in place of accuracy, or "accuracy".
    """

    places: tuple[str, ...]
    device: str
    folders: tuple[ArchiveFolder, ...]
    trained: tuple[TrainedStudent, ...]
    scored: tuple[ScoredStudents, ...]
    devices: tuple[str, ...]
    latencies: Latencies
    left_out: Mapping[str, int]
    metric: str = "accuracy"

    @cached_property
    def scored_count(self) -> int:
        return sum(map(len, self.scored))

    def folder_of(self, path: Path) -> ArchiveFolder:
        return next(one for one in self.folders if one.path == path)


def read_student_archive(places: Sequence[Path | str], device: str = "") -> Archive:
    """The archive of the experiments in `places`: each a folder of one, or one that holds several.

    `device`: a part of the name of the device whose latencies count, as "EPYC" or "1 thread".
    Results of a stand-in are left out. `ResultError` if nothing else is there, if nothing was trained or scored, if
    the images are not the same, or for a device that measured nothing.
    """
    folders = archive_folders(places)
    real = [one for one in folders if not one.stand_in]
    if not real:
        raise ResultError(f"{stand_in_sentence(folders[0].record)} Search without --stand-in first.")
    require_same_images(real)
    rows = {one: read_trial_rows(one.path) for one in real}
    left_out = Counter({"results of a stand-in": sum(one.stand_in for one in folders)})
    left_out.update(reason for ours in rows.values() for row in ours if (reason := reason_to_leave(row)))
    usable = {one: [row for row in ours if not reason_to_leave(row)] for one, ours in rows.items()}
    devices, latencies = pool_latencies([row for ours in usable.values() for row in ours], device)
    trained = [
        student
        for one, ours in usable.items()
        for student in group_trainings(one, ours, val_images(rows[one]), latencies)
    ]
    datasets = sorted({str(row["dataset"]) for ours in rows.values() for row in ours})
    tables = [read_scored(one.path, datasets) for one in real]
    scored = [one for one in tables if len(one)]
    left_out["architectures that no proxy could score"] = sum(one.failed for one in tables)
    if not trained and not scored:
        raise ResultError(f"{places[0]} holds no student that was trained or scored; wait for the first trial")
    return Archive(
        places=tuple(map(str, places)),
        device=device,
        folders=tuple(real),
        trained=tuple(trained),
        scored=tuple(scored),
        devices=devices,
        latencies=latencies,
        left_out={reason: count for reason, count in left_out.items() if count},
        metric=one_metric(rows),
    )


def one_metric(rows: Mapping[ArchiveFolder, Iterable[TrialRow]]) -> str:
    """What all rows hold in the columns of accuracy; `ResultError` where it is not the same."""
    known = {row["metric"] or "accuracy": one for one, ours in rows.items() for row in ours}
    if len(known) > 1:
        (first, one), (second, other) = list(known.items())[:2]
        raise ResultError(
            f"{one.path} and {other.path} measured {first} and {second}, which do not compare; give folders of "
            "experiments with the same data.metric"
        )
    return next(iter(known), "accuracy")


def require_same_images(folders: Iterable[ArchiveFolder]) -> None:
    """Accuracies on different images do not compare."""
    known = {one.images: one for one in folders if one.images}
    if len(known) > 1:
        first, second = list(known.values())[:2]
        raise ResultError(
            f"{first.path} and {second.path} are of different images, whose accuracies do not compare; give folders of "
            "experiments on the same images"
        )


def read_trial_rows(folder: Path) -> list[TrialRow]:
    if not (folder / "rows").is_dir():
        return []
    found: list[TrialRow] = ResultTable(folder).load_rows(TRIAL_COLUMNS).select(TRIAL_COLUMNS).to_pylist()
    return found


def reason_to_leave(row: TrialRow) -> str:
    """Why a row stands for no student; empty if it does. The teacher's row is none of those counted."""
    if row["trial_kind"] == "teacher":
        return ""
    if row["stand_in"]:
        return "trials of a stand-in"
    if row["status"] == "failed":
        return "failed trials"
    return "" if row["val_accuracy"] is not None else "trials without an accuracy on validation"


def val_images(rows: Iterable[TrialRow]) -> int | None:
    """As the teacher's row says; None where another metric than accuracy was measured on them."""
    counts = (row["val_images"] for row in rows if (row["metric"] or "accuracy") == "accuracy")
    return max((count for count in counts if count is not None), default=None)


def pool_latencies(rows: Iterable[TrialRow], device: str) -> tuple[tuple[str, ...], dict[tuple[str, str], float]]:
    """All devices that match, and the median latency of each architecture on the first of them."""
    measured: dict[str, dict[tuple[str, str], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        if row["latency_ms"] is not None:
            measured[name_device(row)][row["space"], row["architecture_id"]][row["key"]] = row["latency_ms"]
    matching = {name: found for name, found in measured.items() if device.casefold() in name.casefold()}
    if device and not matching:
        known = f"they are of {', '.join(map(repr, measured))}" if measured else "none was measured"
        raise ResultError(f"no latency is of a device {device!r}; {known}")
    order = sorted(matching, key=lambda name: (-sum(map(len, matching[name].values())), name))
    first = matching[order[0]] if order else {}
    return tuple(order), {identity: median(values.values()) for identity, values in first.items()}


def name_device(row: TrialRow) -> str:
    """Where and how a latency was measured, as "cpu AMD EPYC, 1 thread, batch of 1"."""
    threads, batch = row["latency_threads"], row["latency_batch"]
    parts = [row["device"] or "an unnamed device"]
    parts += [some(threads, "thread")] if threads else []
    return ", ".join([*parts, *([f"batch of {batch}"] if batch else [])])


def group_trainings(
    folder: ArchiveFolder, rows: Sequence[TrialRow], images: int | None, latencies: Latencies
) -> Iterator[TrainedStudent]:
    """One student for all rows that differ in nothing but seed and role."""
    students = [row for row in rows if row["trial_kind"] != "teacher"]
    full_epochs = folder.full_epochs or max((epochs_trained(row) for row in students), default=0.0)
    groups: dict[tuple[Any, ...], list[TrialRow]] = defaultdict(list)
    for row in students:
        key = (
            *(row[name] for name in ONE_TEACHING),
            row["status"],
            epochs_trained(row),
            is_trained_in_full(row, full_epochs),
        )
        groups[key].append(row)
    for ours in groups.values():
        yield trained_student(folder.path, ours, images, latencies, full_epochs)


def trained_student(
    folder: Path, rows: Sequence[TrialRow], images: int | None, latencies: Latencies, full_epochs: float
) -> TrainedStudent:
    """The student of rows that belong together; a trial that stands in two roles counts once."""
    first = rows[0]
    trials = {row["key"]: row for row in rows}
    ordered = sorted(trials.values(), key=lambda row: (-row["val_accuracy"], row["seed"], row["key"]))
    latency = latencies.get((first["space"], first["architecture_id"]))
    return TrainedStudent(
        folder=folder,
        **{name: first[name] for name in ("space", "architecture_id", "values_json", "student", "method", "init")},
        options_json=first["options_json"],
        roles=tuple(sorted({row["role"] for row in rows if row["trial_kind"] == "final"})),
        keys=tuple(row["key"] for row in ordered),
        status=first["status"],
        epochs=epochs_trained(first),
        full_epochs=full_epochs,
        full=is_trained_in_full(first, full_epochs),
        val_accuracies=tuple(row["val_accuracy"] for row in ordered),
        test_accuracies=tuple(row["test_accuracy"] for row in ordered if row["test_accuracy"] is not None),
        val_images=images,
        costs=StudentCosts(params=first["params"], macs=first["macs"], latency_ms=latency),
    )


def epochs_trained(row: TrialRow) -> float:
    """Epochs that a trial was trained for; the last one may have been a part."""
    if row["status"] == "complete":
        return float(row["epochs"] - 1 + (1.0 if row["last_epoch"] is None else row["last_epoch"]))
    return float(row["epochs_done"] or 0)


def is_trained_in_full(row: TrialRow, full_epochs: float) -> bool:
    """Whether a trial was trained in full: to its end, and as a final or for as long as finals are.

    Finals of another method may be shorter or longer, for equal compute. A method of a comparison that got a part of
    the compute, as while its options were chosen, was not. Nor was a student that began with its parent's weights: the
    trainings of all its ancestors are in it, and finals begin without them.
    """
    whole = row["compute_fraction"] is None or row["compute_fraction"] > 0.999
    as_finals = epochs_trained(row) > full_epochs - 0.01 and row["init"] != FROM_PARENT
    return row["status"] == "complete" and whole and (row["trial_kind"] == "final" or as_finals)


def values_of(archive: Archive, space: str, architecture_id: str) -> dict[str, Any]:
    """The values of an architecture that was trained or scored, by parameter of its space."""
    for student in archive.trained:
        if student.identity == (space, architecture_id):
            return dict(json.loads(student.values_json))
    for one in archive.scored:
        if values := find_values(one.folder, space, architecture_id):
            return values
    raise ResultError(f"no student of the archive is {architecture_id!r} of {space}")
