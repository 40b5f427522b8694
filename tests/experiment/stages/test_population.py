"""A population, broken off anywhere and carried out in any order, becomes the same one; its rows can be made again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from automl_kd import experiment as stages
from automl_kd.config import Finalists, Range, SearchSection, StudentSection, loads, to_record
from automl_kd.errors import ConfigError, ResultError
from automl_kd.experiment import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent, TrialStatus
from automl_kd.experiment.proposals import by_labels_alone
from automl_kd.experiment.stages.finals import PROPOSAL_COLUMNS, final_spec, line_up, proposal_of, shortlist
from automl_kd.experiment.stages.lengths import Length
from automl_kd.experiment.stages.population import Population
from automl_kd.methods import run_trial
from automl_kd.methods.schedule import schedule_parts
from automl_kd.results.store.folder import open_folder
from automl_kd.space import Architecture
from automl_kd.spec import Recipe, TrialSpec, read_schedule
from tests import tiny
from tests.conformance.trials import content, difference, quick
from tests.experiment.progress.test_reporter import Ears
from tests.experiment.session import Broken, carry_through

__all__ = ["quick"]

pytestmark = pytest.mark.usefixtures("quick")

PERTURB = {"recipe.lr": Range(low=0.001, high=0.5, log=True), "method.temperature": Range(low=1, high=10)}
SEARCH = SearchSection(sampler="random", trials=4, scheduler="pbt", interval=2, perturb=PERTURB)
TOLD = ["proposal", "key", "status", "epochs_done", "val_accuracy", "test_accuracy", "schedule_json", "lineage_json"]


def open_population(root: Path, **changes) -> ExperimentContext:
    fields = {
        "space": "model:tests.tiny:teacher",
        "method": "kd",
        "recipe": Recipe(epochs=5, batch_size=16),
        "search": SEARCH,
        "finalists": Finalists(seeds=(0,), count=2, epochs=3),
        **changes,
    }
    context = prepare_experiment(tiny.experiment(**fields), Roots(results=root / "results", data=root), Silent())
    open_folder(context.folder, to_record(context.experiment))
    torch.manual_seed(11)
    tiny.leave_teacher(context)
    return context


def table(context: ExperimentContext) -> pd.DataFrame:
    rows = context.table.read()
    return rows[rows["trial_kind"] == "search"].sort_values("proposal")[TOLD].reset_index(drop=True)


def weights(context: ExperimentContext) -> dict[str, object]:
    return {key: content(context.folder / "trials" / key / "student.pt") for key in table(context)["key"]}


def settings(scheduler: Any, **changes) -> SearchSection:
    return dataclasses.replace(SEARCH, scheduler=scheduler, **changes)


@pytest.mark.parametrize("scheduler", ["pbt", pytest.param("pb2", marks=pytest.mark.slow)])
def test_broken_off_anywhere_and_in_any_order_it_becomes_the_same(tmp_path, scheduler):
    search = settings(scheduler)
    whole = open_population(tmp_path / "whole", search=search)
    assert carry_through(Population(whole), at_once=4) == 12  # four members in three rounds
    assert list(table(whole)["status"]) == ["complete"] * 4

    other = open_population(tmp_path / "broken", search=search)
    # in the first round, twice; after its change; in the second round; with two members at their end
    for trials in (1, 3, 5, 2, 6):
        with pytest.raises(Broken):
            carry_through(Population(other), at_once=3, last_first=True, break_at=trials)
    assert len(table(other)) == 2
    for _ in range(2):  # and once more when it is finished: the rows are replayed, and none is added
        assert carry_through(Population(other)) == 4
        pd.testing.assert_frame_equal(table(other), table(whole))
    assert not difference(weights(whole), weights(other))


def test_the_watcher_hears_of_every_member_from_its_beginning_to_its_end(tmp_path):
    ears, again = Ears(), Ears()
    context = dataclasses.replace(open_population(tmp_path), watcher=ears)
    carry_through(Population(context), at_once=4)
    members: dict[int, list[TrialStatus]] = {one.number: [] for one in ears.heard}
    for one in ears.heard:
        members[one.number].append(one)
    assert sorted(members) == [0, 1, 2, 3]
    for number, heard in members.items():
        assert {one.key for one in heard} == {f"member {number}"}
        epochs = [one.epoch for one in heard]
        assert (epochs[0], epochs[-1], epochs) == (0, 5, sorted(epochs))
        assert [one.status for one in heard] == ["running"] * (len(heard) - 1) + ["complete"]
    carry_through(Population(dataclasses.replace(context, watcher=again)), at_once=4)
    assert [(one.status, one.epoch, one.recorded) for one in again.heard] == [("complete", 5, True)] * 4


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> ExperimentContext:
    """A population of six with enough changes for a line of descent; no latency is measured at length."""
    with pytest.MonkeyPatch.context() as patch:
        quick.__wrapped__(patch)  # type: ignore[attr-defined]
        context = open_population(
            tmp_path_factory.mktemp("done"), search=settings("pbt", trials=6, interval=1, quantile=0.5)
        )
        carry_through(Population(context))
    return context


def test_a_row_says_whose_weights_were_taken_over_and_what_changed_when(done):
    rows = table(done)
    assert rows["schedule_json"].is_unique
    assert rows["key"].is_unique
    for row in rows[rows["lineage_json"].notna()].to_dict("records"):
        schedule, lineage = read_schedule(row["schedule_json"]), json.loads(row["lineage_json"])
        assert [round(stage.start * 5) for stage in schedule] == [0, *(epochs for epochs, _, _ in lineage)]
        for stage in schedule:
            assert 0.001 <= float(stage.changes["recipe.lr"]) <= 0.5
            assert 1 <= float(stage.changes["method.temperature"]) <= 10
        epochs, _, key = lineage[-1]
        assert (done.folder / "trials" / key).is_dir()
        assert 1 <= epochs < 5
    assert rows["lineage_json"].notna().any()


def test_the_trial_of_a_row_trained_from_scratch_comes_to_its_weights(done, tmp_path):
    row = max(done.table.read().to_dict("records"), key=lambda one: len(one["schedule_json"]))
    assert len(read_schedule(row["schedule_json"])) >= 2
    spec, recorder = TrialSpec.from_json(row["spec_json"]), tiny.Recorder()
    assert spec.key == row["key"]
    run_trial(spec, recorder, dataclasses.replace(done.trial_paths(spec, "cpu"), trial=tmp_path / "again"))
    assert recorder.seen[5]["val_accuracy"] == row["val_accuracy"]
    for name in ("student.pt", "student_best.pt"):
        assert not difference(content(done.folder / "trials" / row["key"] / name), content(tmp_path / "again" / name))


def test_the_schedule_found_is_trained_again_with_other_seeds_and_lengths(done):
    best = shortlist(done.table.read(), 2)[0]
    spec = final_spec(done, best, Length(3), seed=7)
    assert (spec.schedule, spec.recipe.epochs, spec.seed) == (best.schedule, 3, 7)
    assert best.schedule == read_schedule(best.key[3])


def rates(spec: TrialSpec) -> list[tuple[float, float]]:
    """Peak rate and weight decay in each of a hundred epochs."""
    long = dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, epochs=100, last_epoch=1.0))
    found: list[tuple[float, float]] = []
    for part in schedule_parts(long):
        found += [(part.spec.recipe.lr, part.spec.recipe.weight_decay)] * (part.last - len(found))
    return found


def test_the_found_student_without_its_teacher_follows_the_found_rates_over_the_run(done):
    begun = dataclasses.replace(done.experiment, student=StudentSection(init="teacher"))
    rows = done.table.read()
    changing = []
    for _, row in rows[rows["trial_kind"] == "search"].iterrows():
        found = proposal_of(*(row[name] for name in PROPOSAL_COLUMNS))
        labels = by_labels_alone(begun, found)
        assert labels is not None
        by_role = {one.role: one for one in line_up(done, found)}
        specs = [final_spec(done, one.proposal, one.length, 0) for one in by_role.values() if "found" in one.role]
        assert len(specs) == 2
        wanted = rates(final_spec(done, found, Length(5), 0))
        assert all(rates(one) == wanted for one in [*specs, final_spec(done, labels, Length(5), 0)])
        assert by_role["found-scratch"].proposal.method == labels.method == "scratch"
        changing.append(len(set(wanted)))
    assert max(changing) > 2  # more than one change on the way


def test_members_that_fail_are_recorded_once_and_the_others_go_on(tmp_path):
    # rates as high as this end in losses that are not finite
    wild = {"recipe.lr": Range(low=1e-3, high=1e30, log=True)}
    context = open_population(tmp_path, search=settings("pbt", perturb=wild, trials=6))
    carry_through(Population(context))
    rows = table(context)
    assert sorted(rows["proposal"]) == list(range(6))
    assert set(rows["status"]) == {"complete", "failed"}
    failed = context.table.read().query("status == 'failed'")
    assert failed["error"].str.startswith("DivergedError: the training loss became").all()
    carry_through(Population(context))
    pd.testing.assert_frame_equal(table(context), rows)


def test_another_number_of_members_is_refused(done):
    more = dataclasses.replace(done.experiment, search=settings("pbt", trials=7, interval=1, quantile=0.5))
    with pytest.raises(ResultError, match=r"has 6 members, and search\.trials is 7; put it back, or give"):
        Population(dataclasses.replace(done, experiment=more))


def test_a_damaged_record_of_changes_is_refused_and_a_line_cut_short_is_dropped(tmp_path):
    context = open_population(tmp_path)
    with pytest.raises(Broken):
        carry_through(Population(context), break_at=5)
    path = context.folder / "population.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"epochs": 4, "sco')
    assert Population(context).changes.epochs == [2]
    assert path.read_bytes() == whole
    path.write_bytes(b'{"epochs": 4}\n')
    with pytest.raises(
        ResultError, match=r"population\.jsonl is damaged .* delete the folder to begin the search anew"
    ):
        Population(context)


@pytest.mark.ray
@pytest.mark.long
def test_an_experiment_with_a_population_from_its_teacher_to_its_finals(ray_session, tmp_path):
    context = open_population(tmp_path, search=settings("pb2", trials=3))
    stages.run_stages(context.experiment, context.roots, Silent())
    rows = context.table.read()
    assert list(rows["trial_kind"].value_counts()[["search", "choice", "final"]]) == [3, 2, 4]
    assert set(rows["status"]) == {"complete"}
    found = rows[rows["role"] == "found-method"].iloc[0]
    chosen = rows[(rows["trial_kind"] == "choice") & (rows["schedule_json"] == found["schedule_json"])]
    assert chosen["val_accuracy"].iloc[0] == rows.loc[rows["trial_kind"] == "choice", "val_accuracy"].max()
    assert (found["epochs"], found["seed"]) == (3, 0)
    assert rows.loc[rows["role"] == "default-kd", "schedule_json"].isna().all()
    # Tune's workers came to the same population as one process that takes its members one by one
    alone = dataclasses.replace(context, experiment=dataclasses.replace(context.experiment, name="alone"))
    open_folder(alone.folder, to_record(alone.experiment))
    carry_through(Population(alone))
    pd.testing.assert_frame_equal(table(context), table(alone))


TEXT = """
name = "pop"
space = "model:tests.tiny:teacher"
data = { name = "tests.tiny:source", validation = 0.2 }
teacher = { model = "tests.tiny:teacher" }
recipe = { epochs = 6 }
"""


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("search.scheduler='pbt'", r"scheduler = 'pbt' needs a table \[search\.perturb\] of what it changes"),
        ('search.perturb."recipe.lr"={low=0.1,high=0.2}', "perturb is for the schedulers 'pbt' and 'pb2', got 'asha'"),
        ('PBT search.perturb."recipe.epochs"={low=1,high=2}', r"'recipe\.epochs' cannot change while a trial trains"),
        (
            'PBT search.perturb."method.losses"={low=1,high=2}',
            "'method.losses' cannot change while 'kd' trains; what may",
        ),
        ('PBT search.perturb."method.weight"={low=0.5,high=2}', "at the high ends of its ranges: .*weight must lie in"),
        ('PBT search.perturb."recipe.lr"={low=0.0,high=2}', r"recipe\.lr must stay above 0"),
        ('PBT options.weight=0.5 search.perturb."method.weight"={low=0.5,high=1}', "'weight' is set in options and"),
        ("PBT search.interval=6", "search.interval is 6, so that nothing changes within the 6 of recipe.epochs"),
        ("PBT search.trials=1", "a population needs trials of 2 or more, got 1"),
        ("PBT search.quantile=0.6", "quantile must lie above 0 and at most at 0.5, got 0.6"),
        ("PBT search.resample=-1", "resample must lie in 0 to 1, got -1"),
        (
            "PBT hyperparameters.method=['kd','scratch']",
            "hyperparameters are for proposals, and search.scheduler = 'pbt' changes what",
        ),
        ("PBT space='tests.tiny:SPACE'", "needs one student, whose weights its trials take over from each other"),
        (
            "search.scheduler='hyperband' trial.workers=2",
            "pauses trials of one process, and trial.workers is 2",
        ),
        (
            "search.scheduler='hyperband' trial.max_concurrent=2",
            "needs room for trials that wait beside those that run",
        ),
        ("search.median_trials=0", "median_trials must be 1 or more, got 0"),
        ("search.interval=0", "interval must be 1 or more epochs, got 0"),
    ],
)
def test_what_no_population_can_do_is_refused_in_one_sentence(tmp_path, lines, sentence):
    pbt = "search.scheduler='pbt' search.interval=2 " + 'search.perturb."method.temperature"={low=1,high=9}'
    settings = lines.replace("PBT", pbt).split()
    with pytest.raises(ConfigError, match=sentence) as caught:
        prepare_experiment(loads(TEXT, settings), Roots(results=tmp_path / "results", data=tmp_path), Silent())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_weights_of_losses_may_change_if_they_stay_above_zero(tmp_path):
    text = TEXT + 'method = "weighted_losses"\n[search]\nscheduler = "pb2"\n[search.perturb]\n'
    roots = Roots(results=tmp_path / "results", data=tmp_path)
    context = prepare_experiment(loads(text + "method.losses.kd = { low = 0.1, high = 1 }"), roots, Silent())
    (stage,) = context.proposal(Architecture.of({"method.losses.kd": 0.5})).schedule
    assert stage.changes == {"method.losses": "kd=0.5"}
    with pytest.raises(ConfigError, match=r"'method\.losses\.kd' must stay above 0, or the loss and its layers would"):
        prepare_experiment(loads(text + "method.losses.kd = { low = 0.0, high = 1 }"), roots, Silent())
