"""Whole calls on tiny images: the sections of a file, objects in workers, results that are read back."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import automl_kd
from automl_kd.api.result import Result
from automl_kd.errors import ConfigError, DataError, RecordError, ResultError
from tests.api import objects

akd: Any = automl_kd
"""Without its types, which would refuse some of what is tried here."""

RECIPE = akd.Recipe(epochs=2, batch_size=16)
QUICK = {"data.validation": 0.2, "finalists.seeds": [0], "finalists.count": 1, "trial.device": "cpu"}

THREE_CHANNELS = akd.Teacher(objects.teacher(), preprocessing=akd.Preprocessing((0.5,) * 3, (0.5,) * 3))


def search_by_objects(out: Path, **changes) -> Any:
    settings = {**QUICK, "search.scheduler": "none", "search.sampler": "random", **changes.pop("settings", {})}
    given = {
        "space": objects.SPACE,
        "teacher": akd.Teacher(objects.teacher(), preprocessing=akd.Preprocessing(mean=(0.4,), std=(0.3,))),
        "data": objects.arrays(),
        "budget": akd.Budget(params=500_000),
        "trials": 2,
        "recipe": RECIPE,
        "progress": "none",
    }
    return akd.search(**{**given, **changes}, out=out, settings=settings)


@pytest.mark.ray
def test_a_search_by_objects(ray_session, tmp_path, capsys):
    result = search_by_objects(tmp_path / "results" / "mine", progress="lines")
    assert "search, 2 trials by random" in capsys.readouterr().out
    assert result.verdict.sentence == str(result.verdict)
    assert set(result.verdict.numbers) == {"search", "architecture", "teaching"}
    assert result.verdict.numbers["search"].n == 1
    assert set(result.rows["trial_kind"]) == {"teacher", "search", "final"}
    assert result.curves["key"].isin(result.rows["key"]).all()
    check_best(result)
    check_pages(result, tmp_path)
    record = json.loads((result.folder / "experiment.json").read_text())
    assert record["name"] == "mine"
    assert record["data"]["mean"] == [0.4]
    assert record["teacher"]["checkpoint"].startswith(str(result.folder / "_objects"))
    check_continued(result, tmp_path)


def check_best(result: Result) -> None:
    best = result.best
    assert isinstance(best.student, nn.Module)
    assert best.row["role"] == "found-method"
    batch = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    inputs = best.preprocess(batch)
    torch.testing.assert_close(inputs, (batch / 255 - 0.4) / 0.3)
    assert best.student(inputs).shape == (5, 3)
    one = Image.fromarray(batch[0, 0].numpy())
    torch.testing.assert_close(best.preprocess(one), inputs[:1])
    torch.testing.assert_close(best.preprocess(batch[:, 0].numpy()), inputs)
    assert best.preprocess(Image.new("RGB", (30, 20))).shape == (1, 1, 8, 8)
    with pytest.raises(DataError, match="give a PIL image or a batch of uint8 of shape"):
        best.preprocess(batch.float())
    moved = result.folder.rename(result.folder.with_name("moved"))
    there = moved / "trials" / best.key
    with pytest.raises(ConfigError, match="reading it back runs code; pass trusted=True if you trust this folder"):
        akd.load_student(there)
    torch.testing.assert_close(akd.load_student(there, trusted=True)(inputs), best.student(inputs))
    moved.rename(result.folder)
    again = akd.load_student(result.folder / "trials" / best.key, trusted=True)
    torch.testing.assert_close(again(inputs), best.student(inputs))


def check_pages(result: Result, folder: Path) -> None:
    page, text = result.report(folder / "report")
    assert result.verdict.sentence in text.read_text(encoding="utf-8")
    assert page.name == "leaderboard.html"
    shown = result._repr_html_()
    assert "<table>" in shown
    assert "found student, its method" in shown
    rows, curves = akd.read_results(result.folder)
    assert len(rows) == len(result.rows)
    assert len(curves) == len(result.curves)
    with pytest.raises(ResultError, match="looks like a file; name a folder"):
        result.report(folder / "report.html")


def check_continued(result: Result, root: Path) -> None:
    """The same call trains nothing; another teacher is another experiment."""
    before = len(result.rows)
    assert len(search_by_objects(result.folder).rows) == before
    other = objects.teacher()
    with torch.no_grad():
        other.classifier.bias[0] += 1
    with pytest.raises(ResultError, match="holds another experiment: its teacher"):
        search_by_objects(result.folder, teacher=akd.Teacher(other, preprocessing=akd.Preprocessing((0.4,), (0.3,))))


@pytest.mark.ray
def test_one_student_by_one_method(ray_session, tmp_path):
    result = akd.distill(
        objects.student,
        akd.Teacher("tests.tiny:teacher", recipe=RECIPE),
        {"train": objects.Stripes(), "test": objects.Stripes(30, 2)},
        method=akd.methods.KD(temperature=2.0),
        epochs=2,
        seeds=2,
        recipe=RECIPE,
        out=tmp_path / "results" / "one",
        settings={"data.validation": 0.2, "trial.device": "cpu"},
        progress="none",
    )
    finals = result.rows[result.rows["trial_kind"] == "final"]
    assert set(finals["seed"]) == {0, 1}
    assert {json.loads(one).get("temperature") for one in finals["options_json"]} == {2.0, None}
    assert set(finals["student"]) == {"student"}
    assert result.verdict.numbers["teaching"].n == 2
    page, text = result.report(tmp_path / "report")
    for told in (result._repr_html_(), text.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")):
        assert "plain KD" in told
        assert "found student" not in told


@pytest.mark.ray
def test_methods_compared(ray_session, tmp_path):
    result = akd.compare(
        "tests.tiny:teacher",
        akd.Teacher("tests.tiny:teacher", recipe=RECIPE),
        objects.arrays(),
        methods=["kd", akd.methods.Scratch()],
        epochs=2,
        seeds=2,
        recipe=RECIPE,
        out=tmp_path / "results" / "ways",
        settings={"data.validation": 0.2, "trial.device": "cpu"},
        progress="none",
    )
    assert list(result.verdict.numbers) == ["scratch"]
    assert "kd" in result.verdict.sentence
    assert result.best.row["role"] in {"kd", "scratch"}
    assert "scratch" in result._repr_html_()
    assert result.report(tmp_path / "report")[1].read_text(encoding="utf-8")


FILE = """
name = "mine"
space = "tests.tiny:SPACE"
method = "tests.tiny:Pretend"
data = { name = "tests.tiny:source", validation = 0.2 }
teacher = { model = "tests.tiny:teacher", recipe = { epochs = 1, batch_size = 16 } }
recipe = { epochs = 2, batch_size = 16 }
search = { sampler = "random", trials = 4, scheduler = "none" }
finalists = { seeds = [0], count = 1 }
trial = { device = "cpu" }
"""


def test_a_file_with_other_settings(tmp_path):
    (tmp_path / "mine.toml").write_text(FILE)
    settings = {
        "search.trials": 20,
        "search.proxy_filter": ["params"],
        "budget": {"params": 900},
        "recipe.nesterov": False,
    }
    loaded = akd.load_experiment(tmp_path / "mine.toml", settings).experiment
    assert (loaded.search.trials, loaded.search.proxy_filter, loaded.budget.params) == (20, ("params",), 900)
    assert not loaded.recipe.nesterov
    for given, sentence in [
        ({"search.trails": 3}, "unknown key 'search.trails'; did you mean 'trials'?"),
        ({"search.trials": 2.5}, "search.trials = 2.5 does not fit; it should be a valid integer"),
        ({"recipe.lr": float("nan")}, "lr is nan; it should be a finite number"),
        ({"search.trials": object()}, "search.trials = <object .* does not fit; give numbers, texts"),
    ]:
        with pytest.raises(ConfigError, match=sentence):
            akd.load_experiment(tmp_path / "mine.toml", given)


@pytest.mark.ray
def test_a_file_is_run(ray_session, tmp_path):
    (tmp_path / "mine.toml").write_text(FILE)
    loaded = akd.load_experiment(tmp_path / "mine.toml", {"search.trials": 2})
    result = loaded.run(tmp_path / "results", progress="none")
    assert result.folder == tmp_path / "results" / "mine"
    assert (result.rows["trial_kind"] == "search").sum() == 2


def test_scores_by_a_table_of_the_data(tmp_path):
    given = objects.arrays()
    several: dict[str, Any] = {
        name: np.eye(3, dtype=np.int64)[part] if name[0] == "y" else part for name, part in given.items()
    }
    np.savez(tmp_path / "several.npz", **several)
    data = {"name": f"arrays:{tmp_path}/several.npz", "task": "multi-label"}
    frame = akd.score(objects.SPACE, ["naswot"], data, sample=2, out=tmp_path)
    assert frame["naswot"].notna().all()
    with pytest.raises(RecordError, match="images 2 or more"):
        akd.score(objects.SPACE, ["naswot"], data, sample=2, images=0, out=tmp_path)


def test_scores_are_a_frame(tmp_path):
    frame = akd.score(objects.SPACE, ["naswot", "params"], objects.arrays(), sample=2, images=8, out=tmp_path)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["rank"]) == [1, 2]
    assert {"naswot", "params", "architecture_id"} <= set(frame.columns)
    again = akd.score(objects.SPACE, ["naswot", "params"], objects.arrays(), sample=2, images=8, out=tmp_path)
    pd.testing.assert_frame_equal(again, frame)
    with pytest.raises(RecordError, match="proxies = 'naswot' is one text; give a list"):
        akd.score(objects.SPACE, "naswot", objects.arrays(), out=tmp_path)
    with pytest.raises(RecordError, match="sample and repeats must be 1 or more"):
        akd.score(objects.SPACE, ["params"], objects.arrays(), sample=0, out=tmp_path)
    with pytest.raises(RecordError, match=r"score: seed = 1.5 does not fit; it should be a valid integer"):
        akd.score(objects.SPACE, ["params"], objects.arrays(), seed=1.5, out=tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"trials": 0}, "search: search: trials must be 1 or more, got 0"),
        ({"trials": "many"}, 'search.trials = "many" does not fit; it should be a valid integer'),
        ({"method": "kdd"}, "no method is called 'kdd'; did you mean 'kd'?"),
        ({"settings": {"search.sampler": "tpee"}}, "tpee"),
        ({"budget": akd.Budget(params=10)}, "none of 500 architectures of 'two widths' meets the budget"),
        ({"teacher": akd.Teacher(nn.Flatten())}, "has 64 outputs, and the data 3 classes; say by classes"),
        ({"data": np.zeros(3)}, "item 0 of data is no pair"),
        ({"progress": "loud"}, "progress = 'loud' is no choice"),
        ({"teacher": THREE_CHANNELS}, "teacher.preprocessing.mean has 3 numbers for images of 1 channel"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_out_leaves_nothing(tmp_path, changes, sentence):
    with pytest.raises(Exception, match=sentence):
        search_by_objects(tmp_path / "results" / "mine", **changes)
    assert not (tmp_path / "results" / "mine").exists()


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may fall into a finalizer of Ray's
def test_an_interrupted_search_continues(ray_session, ctrl_c, tmp_path):
    out = tmp_path / "results" / "mine"

    def interrupt() -> None:
        while not list((out / "rows").glob("*")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        search_by_objects(out, trials=4, recipe=akd.Recipe(epochs=30, batch_size=16))
    kept = len(akd.read_results(out).rows)
    result = search_by_objects(out, trials=4, recipe=akd.Recipe(epochs=30, batch_size=16))
    assert len(result.rows) > kept >= 1
    assert result.verdict.numbers["search"].n == 1


def test_a_method_of_the_program_itself_is_refused(tmp_path):
    class Own(automl_kd.methods.Scratch): ...

    with pytest.raises(ConfigError, match=r"method .*Own is of this program alone, and workers import it"):
        search_by_objects(tmp_path / "results" / "mine", method=Own())
