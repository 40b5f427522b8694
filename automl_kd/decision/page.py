"""One HTML page, for the person who decides whether the student is shipped. It needs no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from automl_kd import storage
from automl_kd.data import LoadProgress
from automl_kd.data.load_progress import ignore_progress
from automl_kd.decision.candidates import JudgedExperiment, MeasuredLatencies
from automl_kd.decision.classes import classes_sentence, classes_sheet, compare_classes, draw_matrices
from automl_kd.decision.front import draw_fronts
from automl_kd.decision.networks import ShownTrial, choose_trial, open_networks
from automl_kd.decision.pictures import (
    EXACT_MARK,
    agreement_sentence,
    choose_disagreements,
    count_agreement,
    draw_pictures,
    list_disagreements,
)
from automl_kd.decision.predictions import (
    TestPredictions,
    predict_test,
    read_predictions,
    require_recorded,
    write_predictions,
)
from automl_kd.decision.recommendation import Recommendation, compare_teacher, recommend_candidate
from automl_kd.decision.sheets import (
    SIZES_NOTE,
    candidates_sheet,
    cost_sentences,
    files_sheet,
    list_stage_costs,
    read_teacher_facts,
)
from automl_kd.decision.usage import loading_lines, onnx_lines, repeating_commands
from automl_kd.errors import CheckpointError, DataError, FileError
from automl_kd.export.folder import INT8
from automl_kd.results import units
from automl_kd.results.comparison.comparison import Comparison
from automl_kd.results.comparison.sentences import comparison_sentences
from automl_kd.results.report.page import results_provenance, trial_facts
from automl_kd.results.store.account import line_of
from automl_kd.results.templates import load_template
from automl_kd.results.verdict.gain import untaught
from automl_kd.results.verdict.readings import READINGS_NOTE, disagreement_sentence, readings_sheet
from automl_kd.results.verdict.teacher import teacher_of, warning

PREDICTIONS_SUFFIX = ".predictions.json"


class DecisionPage(NamedTuple):
    """`file`: the page. `predictions`: the file of answers beside it, None where there are none.

    `recommendation`: its first sentences. `uncompared`: why answers on test images are not shown; empty where they are.
    """

    file: Path
    predictions: Path | None
    recommendation: Recommendation
    uncompared: str


def write_decision_page(
    result_folder: Path,
    data_root: Path,
    out_file: Path,
    *,
    export_folder: Path | None = None,
    commands: Sequence[str] = (),
    latencies: MeasuredLatencies | None = None,
    trial_key: str = "",
    device: str = "auto",
    trusted: bool = False,
    notify: LoadProgress = ignore_progress,
) -> DecisionPage:
    """Write the page about the experiment in `result_folder` to `out_file`, whole or not at all.

    `export_folder`: of its student, whose trial is the one that is shown. `commands`: those that repeat the results.
    `latencies`: of the user's device, in place of those that trials measured. `trial_key`: another trial to show.
    `device`: where answers are computed: "auto", "cpu" or "cuda". `trusted`: as of `open_networks`. `notify`: told how
    far it is.
    The answers of student and teacher on the test images are kept beside the page, and not computed again. Where images
    or weights are gone the page is written without them and says so. `ResultError` for a folder without results, an
    export of another experiment, and networks that are not as good on the test images as their rows say.
    """
    experiment = JudgedExperiment.read(result_folder, latencies)
    trial = choose_trial(experiment, export_folder, trial_key)
    beside = out_file.with_name(out_file.name.removesuffix(".html") + PREDICTIONS_SUFFIX)
    predictions, uncompared = obtain_predictions(
        experiment, trial, beside, data_root, device, trusted=trusted, notify=notify
    )
    recommendation = recommend_candidate(experiment)
    text = load_template(Path(__file__).with_name("page.html")).render(
        name=experiment.record.get("name", result_folder.resolve().name),
        facts=page_facts(experiment),
        uncompared=uncompared,
        **describe_recommendation(experiment, recommendation),
        **describe_candidates(experiment, recommendation, latencies, export_folder, trial),
        **describe_predictions(predictions, trial, recommendation),
        fronts=list(draw_fronts(experiment)),
        costs=list_stage_costs(experiment),
        cost_sentences=list(cost_sentences(experiment)),
        loading=loading_lines(trial, export_folder, data_root, best=not trial_key),
        running=onnx_lines(export_folder),
        commands=repeating_commands(tuple(commands), export_folder),
        provenance=results_provenance(experiment.rows),
        record=json.dumps(experiment.record, indent=2) if experiment.record else "",
    )
    storage.write(out_file, text)
    return DecisionPage(out_file, beside if predictions else None, recommendation, uncompared)


def page_facts(experiment: JudgedExperiment) -> list[str]:
    """Lines on the trials, the data and the metric, of which some are empty."""
    rows = experiment.rows
    return [trial_facts(rows), line_of(experiment.folder), units.metric_sentence(rows["metric"])]


def obtain_predictions(
    experiment: JudgedExperiment,
    trial: ShownTrial | None,
    beside: Path,
    data_root: Path,
    device: str,
    *,
    trusted: bool,
    notify: LoadProgress,
) -> tuple[TestPredictions | None, str]:
    """The answers, kept or computed now; None with the reason where they cannot be had."""
    if trial is None:
        return None, "No final training of the found student is complete, so there is nothing to compare."
    kept = read_predictions(beside, trial.key, trial.teacher_name, trial.spec.data.digest)
    if kept is None:
        try:
            networks = open_networks(trial, data_root, notify, trusted=trusted)
        except (DataError, CheckpointError, FileError) as error:
            return None, f"Teacher and student could not be compared on the test images: {error}."
        kept = predict_test(networks, pick_device(device), notify)
        kept = replace(kept, pictures=tuple(draw_pictures(networks, choose_disagreements(kept))))
        require_recorded(kept, recorded_accuracies(experiment, trial))
        write_predictions(beside, kept)
    else:
        require_recorded(kept, recorded_accuracies(experiment, trial))
    if not kept.labelled:
        return kept, "The test images have no labels, so nobody can say who is right on them."
    return kept, ""


def pick_device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def recorded_accuracies(experiment: JudgedExperiment, trial: ShownTrial) -> dict[str, float]:
    """Of student and teacher on the test images; nothing where their rows hold another metric."""
    if trial.spec.data.metric not in {"", "accuracy"}:
        return {}
    known = {"student": trial.row.get("test_accuracy")}
    if trial.teacher is not None:
        known["teacher"] = read_teacher_facts(experiment.rows).test
    return {name: float(value) for name, value in known.items() if value is not None and not units.missing(value)}


def describe_recommendation(experiment: JudgedExperiment, recommendation: Recommendation) -> dict[str, Any]:
    """The template's values of the box at the top."""
    judged, facts = experiment.judged, read_teacher_facts(experiment.rows)
    beside: list[str] = []
    aside: list[str] = []
    warnings: list[str] = []
    if recommendation.chosen is not None:
        beside.append(compare_teacher(recommendation.chosen, facts.test, facts.params, facts.macs))
    if experiment.stand_in:
        pass  # nothing follows from its numbers
    elif isinstance(judged, Comparison):
        aside = comparison_sentences(judged)
        warnings = [judged.warning, disagreement_sentence(judged.readings, judged.reference.title)]
    else:
        aside = [judged.sentence, judged.parts_sentence, judged.teacher_sentence]
        warnings = [warning(teacher_of(experiment.rows), untaught(judged.arms)), judged.readings_sentence]
    aside = [text for text in aside if text and text != recommendation.reason]
    return {
        "headline": recommendation.headline,
        "reasons": [recommendation.reason, *filter(None, beside)],
        "warnings": list(filter(None, warnings)),
        "aside": aside,
        "readings": readings_sheet(judged.readings, judged.reference.title if isinstance(judged, Comparison) else ""),
        "readings_note": READINGS_NOTE,
    }


def describe_candidates(
    experiment: JudgedExperiment,
    recommendation: Recommendation,
    latencies: MeasuredLatencies | None,
    export_folder: Path | None,
    trial: ShownTrial | None,
) -> dict[str, Any]:
    """The values of the table of all networks, and of that of the files of an export."""
    int8 = export_folder / INT8 if export_folder else None
    sizes = {str(trial.row["role"]): int8.stat().st_size} if trial and int8 and int8.exists() else {}
    notes = ["Test accuracies with 95 % intervals over seeds; the teacher is one network.", SIZES_NOTE]
    if any(one.latency_ms for one in experiment.candidates):
        how = "" if latencies else ", measured after each training, maybe beside others: medians"
        notes.append(f"Latency: one image on {experiment.device or 'an unnamed device'}{how}.")
    return {
        "networks": candidates_sheet(experiment, recommendation.chosen, latencies, sizes),
        "networks_note": " ".join(notes),
        "files": files_sheet(export_folder) if export_folder else None,
    }


def describe_predictions(
    predictions: TestPredictions | None, trial: ShownTrial | None, recommendation: Recommendation
) -> dict[str, Any]:
    """The values of classes, matrices and pictures; empty where there are no answers on labelled images."""
    shown = ""
    if trial is not None:
        shown = f"{trial.row['student']}, trained by {trial.row['method']} with seed {trial.row['seed']}"
        if recommendation.chosen is not None and recommendation.chosen.role != trial.row["role"]:
            shown += "; it is not the one that is recommended"
    plain: dict[str, Any] = {"shown": shown, "classes": None, "matrices": [], "pictures": [], "agreement": ""}
    plain |= {"classes_sentence": "", "accuracies": "", "small_pictures": False, "noun": "images"}
    if predictions is None or not predictions.labelled:
        return plain
    found = compare_classes(predictions)
    right = {"student": predictions.student, "teacher": predictions.teacher}
    accuracies = (f"the {name} {units.percent(predictions.right_share(one))} %" for name, one in right.items() if one)
    return plain | {
        "classes": classes_sheet(found, predictions.noun),
        "classes_sentence": classes_sentence(found),
        "accuracies": f"On {len(predictions.labelled):,} test {predictions.noun}: {', '.join(accuracies)}.",
        "noun": predictions.noun,
        "matrices": draw_matrices(predictions),
        "pictures": list_disagreements(predictions) if predictions.teacher else [],
        "small_pictures": any(EXACT_MARK in source for _, source in predictions.pictures),
        "agreement": agreement_sentence(count_agreement(predictions), predictions.noun) if predictions.teacher else "",
    }
