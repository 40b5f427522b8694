"""The findings of tabular searches in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from automl_kd.nasbench.table_search.record import Record
from automl_kd.nasbench.table_search.sheets import common_mark, compared_marks, regrets_at, task_rows
from automl_kd.results import units
from automl_kd.results.statistics.interval import estimate_mean

CLAIM = 180
"""How many times faster than search with training, at least: DisWOT (arXiv:2303.15678), abstract."""

SECONDS_NOTE = (
    "The seconds that 'automl-kd score' records are those of the scores: building the networks and the teacher's "
    "single pass are left out of such ratios."
)


def write_tabular_sentences(record: Record) -> list[str]:
    """The best search of each task, what proxies changed, and the acceleration without training."""
    tasks = record.facts["tasks"]
    accelerations = [*filter(None, (of_scores(record, task) for task in tasks))]
    searched = [task for task in tasks if len(task_rows(record, task))]
    return [
        *(" ".join(of_task(record, task)) for task in searched),
        *accelerations,
        *([SECONDS_NOTE] if accelerations else []),
        *of_fronts(record),
    ]


def of_task(record: Record, task: Mapping[str, Any]) -> Iterator[str]:
    mark = common_mark(record, task)
    regrets = regrets_at(record, task, "queries", mark)
    means = {name: 100 * float(series.mean()) for name, series in regrets.items()}
    best = min(means, key=lambda name: means[name])
    beside = f"; random search has {means['random']:.2f}" if "random" in means and best != "random" else ""
    lowest = f"the lowest mean regret, {means[best]:.2f} points, has {best}{beside}"
    yield f"{task['name']}: after {mark:g} trainings {lowest}."
    for aid in dict.fromkeys(run["aid"] for run in record.facts["runs"] if run["aid"]):
        yield from of_aid(record, task, aid, min(compared_marks(record, task)))


def of_aid(record: Record, task: Mapping[str, Any], aid: str, mark: float) -> Iterator[str]:
    """For whom an aid lowered or raised the mean regret after few trainings, paired by seed."""
    regrets = regrets_at(record, task, "queries", mark)
    alone = {run["kind"]: run["search"] for run in record.facts["runs"] if not run["aid"]}
    words: dict[str, list[str]] = {"lower": [], "higher": [], "not shown to differ": []}
    for run in record.facts["runs"]:
        base = alone.get(run["kind"])
        if run["aid"] != aid or base not in regrets or run["search"] not in regrets:
            continue
        change = estimate_mean(regrets[run["search"]] - regrets[str(base)])
        word = "lower" if change.high < 0 else "higher" if change.low > 0 else "not shown to differ"
        words[word].append(run["kind"])
    every = sum(map(len, words.values()))
    phrases = [
        f"{word} for {', '.join(kinds) if len(kinds) < every else f'all {every} samplers'}"
        for word, kinds in words.items()
        if kinds
    ]
    if phrases:
        yield f"{aid[0].upper()}{aid[1:]}, the mean regret after {mark:g} trainings is {'; '.join(phrases)}."


def of_scores(record: Record, task: Mapping[str, Any]) -> str:
    """The acceleration by each score whose time is known, held against the paper's claim; empty if there is none."""
    ours = record.training_free[record.training_free["task"] == task["name"]]
    medians = ours.groupby("search", sort=False, observed=True)[
        ["test_accuracy", "score_seconds", "train_seconds"]
    ].median()
    phrases: list[str] = []
    words: dict[str, list[str]] = {"whole": [], "scoring": [], "no": []}
    for name, one in medians.iterrows():
        scoring, training = float(one["score_seconds"]), float(one["train_seconds"])
        if name not in ("", "random") and scoring > 0:
            reference = float(medians.loc["", "train_seconds"])
            alone, whole = reference / scoring, reference / (scoring + training)
            words["whole" if whole >= CLAIM else "scoring" if alone >= CLAIM else "no"].append(str(name))
            found = units.percent(float(one["test_accuracy"]))
            phrases.append(f"{name} finds {found} %, {units.times(alone)} and {units.times(whole)} times")
    if not phrases:
        return ""
    trained = units.percent(float(medians.loc["", "test_accuracy"]))
    return (
        f"{task['name']}: evolution by training finds {trained} % on test. Led by a score alone, how many times longer "
        "training takes than scoring, and than scoring with the final trainings: "
        f"{'; '.join(phrases)}. That it is at least {CLAIM} times {acceleration_verdict(words)}."
    )


def acceleration_verdict(words: Mapping[str, list[str]]) -> str:
    """For which scores the claim holds, and in which accounting."""
    says = {
        "whole": "holds either way for",
        "scoring": "holds without the final trainings, but not with them, for",
        "no": "does not hold for",
    }
    return "; ".join(f"{verb} {', '.join(words[word])}" for word, verb in says.items() if words[word])


def of_fronts(record: Record) -> Iterator[str]:
    """On how many devices each search has the largest median hypervolume in the end."""
    if record.fronts.empty:
        return
    last = record.fronts["at"].max()
    medians = (
        record.fronts[record.fronts["at"] == last]
        .groupby(["device", "search"], observed=True)["hypervolume"]
        .median()
        .unstack()
    )
    wins = medians.idxmax(axis=1).value_counts(sort=True)
    phrases = ", ".join(f"{name} on {count}" for name, count in wins.items())
    yield f"Of {len(medians)} devices, the largest hypervolume after {last:g} trainings has {phrases}."
