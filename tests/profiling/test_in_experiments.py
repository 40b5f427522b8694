"""With a profile, limit, objective and column are one quantity: the latency predicted for its device."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from automl_kd.config import Budget, load_experiment
from automl_kd.config.reading import to_record
from automl_kd.errors import ConfigError, ResultError
from automl_kd.experiment import context as contexts
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.records import on_profiled_device, points_of, replays, row_of
from automl_kd.experiment.stages.search import on_record
from automl_kd.results.store.folder import open_folder
from automl_kd.space import Architecture
from automl_kd.spec import Outcome
from tests import tiny
from tests.profiling.made import write_profile

MEASURED = {"val_accuracy": 0.5, "params": 59.0, "latency_ms": 7.0, "latency_iqr_ms": 1.0, "latency_batch": 1.0}


class Noting(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def opened(root, watcher=None, **budget) -> ExperimentContext:
    experiment = tiny.experiment(budget=Budget(**budget))
    return prepare_experiment(experiment, Roots(results=root / "results", data=root), watcher or Silent())


@pytest.fixture
def profiled(tmp_path, monkeypatch) -> ExperimentContext:
    """Whoever measures here fails."""
    write_profile(tmp_path / "phone.json")
    monkeypatch.setattr(contexts, "measure_latency", lambda *_: pytest.fail("nothing is timed"))
    return opened(tmp_path, profile=str(tmp_path / "phone.json"))


def test_a_limit_is_of_the_device(profiled, tmp_path):
    points = [Architecture.of({"width": width}) for width in range(2, 16)]
    latencies = [profiled.latency_ms(one) for one in points]
    expected = [profiled.device_profile.predict(tiny.SPACE, one, tiny.SHAPE) for one in points]
    assert latencies == expected
    assert latencies == sorted(latencies)
    limited = opened(tmp_path, profile=str(tmp_path / "phone.json"), latency_ms=latencies[5])
    assert [limited.within_budget(one) for one in points] == [True] * 6 + [False] * 8


def test_a_limit_that_none_meets_is_one_sentence(tmp_path):
    write_profile(tmp_path / "phone.json")
    with pytest.raises(ConfigError, match=r"latency_ms <= 1e-06, where the least is a latency of 0\.0"):
        opened(tmp_path, profile=str(tmp_path / "phone.json"), latency_ms=1e-6)


def test_the_device_is_noted(tmp_path):
    write_profile(tmp_path / "phone.json")
    watcher = Noting()
    opened(tmp_path, watcher, profile=str(tmp_path / "phone.json"))
    (note,) = [one for one in watcher.notes if "latency" in one]
    assert note.startswith("latency_ms is predicted for a made-up phone, onnxruntime 1.32.0, 1 thread, off by ")


def append_row(context: ExperimentContext, outcome: Outcome, curve=None, **changes):
    row = row_of(
        context, tiny.spec(**changes), outcome, trial_kind="search", role="search", proposal=0,
        started=datetime.now(UTC), device="cpu",
    )  # fmt: skip
    context.table.append(row, points_of(curve or {}))
    return row


def test_the_column_and_what_samplers_follow_are_the_limit_s_quantity(profiled):
    outcome = Outcome(status="complete", metrics=MEASURED, epoch=3)
    row, predicted = append_row(profiled, outcome), profiled.latency_ms(tiny.spec().architecture)
    assert (row.latency_ms, row.latency_iqr_ms, row.latency_batch, row.latency_threads) == (predicted, None, 1, 1)
    assert row.latency_device == "a made-up phone, onnxruntime 1.32.0, 1 thread"
    assert row.params == 59
    followed = on_profiled_device(profiled, tiny.spec(), outcome, "cpu").metrics
    assert followed == {"val_accuracy": 0.5, "params": 59.0, "latency_ms": predicted}


def test_a_trial_that_was_stopped_has_it_too_and_a_failed_one_has_none(profiled):
    stopped = Outcome(status="stopped", metrics={"val_accuracy": 0.5}, epoch=1)
    assert append_row(profiled, stopped).latency_ms == profiled.latency_ms(tiny.spec().architecture)
    failed = Outcome(status="failed", metrics=MEASURED, epoch=1, error="no", failure_kind="other")
    row = append_row(profiled, failed, width=5)
    assert (row.latency_ms, row.latency_device) == (None, None)
    assert "latency_ms" not in on_profiled_device(profiled, tiny.spec(width=5), failed, "cpu").metrics


def test_a_part_of_another_network_has_none(profiled):
    spec = tiny.spec(space="model:resnet8")
    row = append_row(profiled, Outcome(status="complete", metrics=MEASURED, epoch=3), width=4)
    assert row.latency_ms is not None
    outcome = on_profiled_device(profiled, spec, Outcome(status="complete", metrics=MEASURED, epoch=3), "cpu")
    assert "latency_ms" not in outcome.metrics


def test_without_a_profile_all_is_as_it_was(tmp_path):
    context, outcome = opened(tmp_path), Outcome(status="complete", metrics=MEASURED, epoch=3)
    row = append_row(context, outcome)
    assert (row.latency_ms, row.latency_iqr_ms, row.latency_device) == (7.0, 1.0, None)
    assert on_profiled_device(context, tiny.spec(), outcome, "cpu") is outcome
    assert context.latency_ms(context.baseline) > 0


def test_an_experiment_s_file_finds_its_profile_beside_it(tmp_path, monkeypatch):
    write_profile(tmp_path / "phone.json")
    (tmp_path / "mine.toml").write_text('name = "mine"\nspace = "tests.tiny:SPACE"\nbudget.profile = "phone.json"\n')
    assert load_experiment(tmp_path / "mine.toml").budget.profile == str(tmp_path / "phone.json")
    (tmp_path / "mine.toml").write_text('name = "mine"\nspace = "tests.tiny:SPACE"\nbudget.profile = "later.json"\n')
    later = load_experiment(tmp_path / "mine.toml").budget.profile
    assert later == str(tmp_path / "later.json")  # where it is read by automl-kd profile, to be measured
    with pytest.raises(ConfigError, match=r"budget.profile: no file could be read .*; automl-kd profile makes one"):
        opened(tmp_path, profile=later)


def test_a_profile_counts_by_its_content(profiled, tmp_path):
    record = to_record(profiled.experiment)
    name = record["budget"]["profile"]
    assert name.startswith(f"{tmp_path}/phone.json@sha256-")
    folder = tmp_path / "results" / "mine"
    open_folder(folder, record)
    moved = {**record, "budget": {**record["budget"], "profile": name.replace("phone", "moved")}}
    open_folder(folder, moved)
    other = {**record, "budget": {**record["budget"], "profile": name[:-4] + "0000"}}
    with pytest.raises(ResultError, match=r"its budget.profile is "):
        open_folder(folder, other)


def test_a_repeated_search_learns_the_same(profiled):
    outcome = Outcome(status="complete", metrics=MEASURED, epoch=1)
    append_row(profiled, outcome, curve={1: {"val_accuracy": 0.5}})
    (replay,) = replays(profiled.table.read(), profiled.table.curves()).values()
    again = on_profiled_device(profiled, tiny.spec(), on_record(tiny.spec(), replay), "cpu")
    assert again.metrics["latency_ms"] == profiled.latency_ms(tiny.spec().architecture)
