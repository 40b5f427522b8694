"""`automl-kd init` writes an experiment that runs, from options or from answers; mistakes are a sentence."""

from __future__ import annotations

import io
import json
import sys
import tomllib

import pytest

from automl_kd.cli.init import init as command
from automl_kd.cli.starting import affordable_baseline
from automl_kd.config import Budget, Experiment, load_experiment
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.models import load_space
from automl_kd.models.costs.cost import cost_of
from automl_kd.space import Architecture, InputShape
from automl_kd.spec import Recipe
from tests.data.text.words import write_set

DIGITS = InputShape(channels=1, height=8, width=8, classes=10)
RESNETS, CELLS = "search_spaces.resnet:SPACE", "search_spaces.nasbench201:SPACE"


@pytest.fixture
def answering(monkeypatch):
    """Puts a terminal there, on which these lines are typed."""

    def type_lines(*lines: str) -> None:
        monkeypatch.setattr(sys.modules[command.__module__], "on_terminal", lambda: True)
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return type_lines


def test_without_a_terminal_the_defaults_are_written(run, tmp_path):
    code, out, err = run("init")
    assert (code, err) == (0, "")
    assert out == "written to experiment.toml; run: automl-kd search experiment.toml\n"
    experiment = load_experiment(tmp_path / "experiment.toml")
    assert experiment == Experiment(name="experiment", space=RESNETS, budget=Budget(params=300_000))


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--params", "80000", "--macs", "800000")], ids=["default", "small"])
def test_all_checks_before_a_run_are_passed(run, tmp_path, options):
    assert run("init", "mine.toml", "--teacher", "resnet20", *options).code == 0
    roots = Roots(results=tmp_path / "results", data=tmp_path)
    context = prepare_experiment(load_experiment(tmp_path / "mine.toml"), roots, Silent())
    assert context.within_budget(context.baseline)


def test_a_pattern_of_shards_is_a_place_of_images(run, refused, tmp_path):
    (tmp_path / "shards").mkdir()
    assert run("init", "mine.toml", "--data", "shards:shards/train-{000000..000012}.tar").code == 0
    assert load_experiment(tmp_path / "mine.toml").data.name == "shards:shards/train-{000000..000012}.tar"
    assert "there is nothing at" in refused("init", "b.toml", "--data", "shards:none/train-{000000..000012}.tar")


def test_options_are_written_and_nothing_else_differs(run, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"")
    options = ["--space", "model:resnet8", "--data", "cifar10", "--teacher", "resnet20", "--checkpoint", "weights.pt"]
    options += ["--method", "prokt", "--params", "90000", "--macs", "13000000", "--trials", "7", "--epochs", "5"]
    assert run("init", "my study.toml", *options).code == 0
    experiment = load_experiment(tmp_path / "my study.toml")
    assert (experiment.name, experiment.space, experiment.method) == ("my-study", "model:resnet8", "prokt")
    assert (experiment.data.name, experiment.teacher.model) == ("cifar10", "resnet20")
    assert experiment.teacher.checkpoint == str(tmp_path / "weights.pt")
    assert (experiment.budget, experiment.search.trials) == (Budget(params=90_000, macs=13_000_000), 7)
    assert experiment.recipe == Recipe(epochs=5)


def test_the_file_is_short_and_every_line_is_explained(run, tmp_path):
    run("init", "mine.toml")
    text = (tmp_path / "mine.toml").read_text()
    lines = text.splitlines()
    assert len(lines) < 70
    assert lines[0] == "# Run it with: automl-kd search mine.toml. All other fields: automl-kd show mine.toml"
    for place, line in enumerate(lines):
        assert not line or line.startswith("#") or lines[place - 1].startswith("#")
    assert "checkpoint = " in text
    shown = tomllib.loads(run("show", "mine.toml").out)
    assert shown["search"]["scheduler"] == "asha"


def test_questions_have_defaults_and_options_are_not_asked_for(run, answering, tmp_path):
    answering("", "resnet20", "", "", "9")
    code, out, err = run("init", "mine.toml", "--params", "0")
    assert (code, err) == (0, "")
    assert "Data: digits" in out
    assert "Most parameters" not in out
    assert out.endswith("written to mine.toml; run: automl-kd search mine.toml\n")
    experiment = load_experiment(tmp_path / "mine.toml")
    assert (experiment.data.name, experiment.teacher.model, experiment.search.trials) == ("digits", "resnet20", 9)
    assert experiment.teacher.checkpoint == ""
    assert experiment.budget == Budget()


def test_a_number_is_asked_for_again(run, answering, tmp_path):
    answering("", "", "", "model:resnet8", "many", "5")
    assert run("init", "mine.toml", "--params", "0").code == 0
    assert load_experiment(tmp_path / "mine.toml").search.trials == 5


def test_breaking_off_writes_nothing(run, answering, tmp_path):
    answering("digits")  # and then the end of input
    assert run("init", "mine.toml").code == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--space", "search_spaces.resnt:SPACE"], "no space is called 'search_spaces.resnt:SPACE'; did you mean"),
        (["--space", "model:resnt8"], "no model is called 'resnt8'; did you mean 'resnet8'?"),
        (["--teacher", "resnt20"], "no model is called 'resnt20'; did you mean 'resnet20'?"),
        (["--teacher", "torchvision:resnet51"], "torchvision has no classifier called 'resnet51'; did you mean"),
        (["--teacher", "no_such_module:net"], "no module 'no_such_module' could be imported"),
        (["--data", "digts"], "no dataset is called 'digts'; did you mean 'digits'?"),
        (["--data", "folder:nowhere"], "--data 'folder:nowhere': there is nothing at nowhere; give the path"),
        (["--data", "arrays:"], "--data 'arrays:' names no path; write arrays:PATH"),
        (["--checkpoint", "nowhere.pt"], "--checkpoint = 'nowhere.pt' names no file"),
        (["--method", "kdd"], "no method is called 'kdd'; did you mean 'kd'?"),
        (["--trials", "0"], "init: search: trials must be 1 or more, got 0"),
        (["--epochs", "0"], "epochs must be 1 or more, got 0"),
        (["--params", "-1"], "init: budget: limits must be 0 (none) or more"),
        (["--params", "300"], "no student of 'resnet' meets the budget: the smallest found has 4.28 k parameters"),
    ],
)
def test_bad_values_are_one_sentence_and_no_file(refused, options, sentence):
    assert sentence in refused("init", "mine.toml", *options)


def test_no_file_is_replaced_unless_asked_for(refused, run, tmp_path):
    (tmp_path / "mine.toml").write_text("mine")
    assert refused("init", "mine.toml") == "mine.toml is there already; give another name, or --force to replace it"
    assert (tmp_path / "mine.toml").read_text() == "mine"
    assert run("init", "mine.toml", "--force").code == 0
    assert load_experiment(tmp_path / "mine.toml").name == "mine"


def test_places_where_no_file_can_go(refused, tmp_path):
    (tmp_path / "folder").mkdir()
    assert "folder is a folder; name a file in it, such as folder/experiment.toml" in refused("init", "folder")
    assert "there is no folder nowhere for mine.toml; make it" in refused("init", "nowhere/mine.toml")


def test_no_space_on_the_disk_leaves_nothing(refused, no_space):
    assert "No space left on device" in refused("init", "mine.toml")


def test_a_checkpoint_is_found_from_another_folder(run, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"")
    (tmp_path / "studies").mkdir()
    assert run("init", "studies/mine.toml", "--checkpoint", "weights.pt", "--space", "model:resnet8").code == 0
    assert load_experiment(tmp_path / "studies" / "mine.toml").teacher.checkpoint == str(tmp_path / "weights.pt")


def params_of(space: str, baseline) -> int:
    found = load_space(space)
    return cost_of(found, Architecture.of(baseline or found.default), DIGITS).params


def test_a_baseline_over_the_budget_is_made_smaller():
    space = load_space(RESNETS)
    assert affordable_baseline(space, Budget(), "digits") == {}
    assert affordable_baseline(space, Budget(params=300_000), "digits") == {}
    smaller = affordable_baseline(space, Budget(params=200_000), "digits")
    assert 100_000 < params_of(RESNETS, smaller) <= 200_000
    assert smaller["block"] == "basic"
    least = affordable_baseline(space, Budget(macs=1_000_000), "digits")
    assert cost_of(space, Architecture.of(least), DIGITS).macs <= 1_000_000


def test_where_nothing_can_be_lowered_a_baseline_is_drawn():
    drawn = affordable_baseline(load_space(CELLS), Budget(params=500_000), "digits")
    assert 200_000 < params_of(CELLS, drawn) <= 500_000
    with pytest.raises(ConfigError, match=r"no student of 'model:resnet8' meets the budget: the smallest found has 77"):
        affordable_baseline(load_space("model:resnet8"), Budget(params=9), "digits")


def test_images_from_files_get_a_resolution(run, tmp_path):
    (tmp_path / "photos").mkdir()
    asked = ("--data", "folder:photos", "--teacher", "torchvision:resnet18", "--params", "500000")
    for number, (options, size) in enumerate([((), 64), (("--resolution", "96"), 96), (("--resolution", "0"), 0)]):
        assert run("init", f"{number}.toml", *asked, *options).code == 0
        assert load_experiment(tmp_path / f"{number}.toml").data.resolution == size
    lines = (tmp_path / "0.toml").read_text().splitlines()
    assert lines[lines.index("resolution = 64") - 1].startswith("# ")
    assert "resolution = " not in (tmp_path / "2.toml").read_text()


def test_texts_get_the_space_and_recipe_of_encoders(run, tmp_path):
    table = write_set(tmp_path / "texts")
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text(json.dumps({"vocab_size": 44, "model_type": "bert"}))
    options = ("--teacher", f"hf:{tmp_path / 'encoder'}")
    code, _, err = run("init", "words.toml", "--data", f"text:{table}", *options)
    assert (code, err) == (0, "")
    written = load_experiment(tmp_path / "words.toml")
    assert (written.recipe.optimizer, written.recipe.warmup, written.recipe.lr) == ("adamw", 0.1, 1e-4)
    assert written.teacher.model == f"hf:{tmp_path / 'encoder'}"
    assert (written.space, written.student.init) == ("search_spaces.bert:SPACE", "teacher")
    assert (written.data.resolution, written.budget) == (0, Budget())
    assert run("init", "alone.toml", "--data", f"text:{table}", *options, "--method", "scratch").code == 0
    assert load_experiment(tmp_path / "alone.toml").student.init == "fresh"


def test_what_is_for_images_is_refused_for_texts(refused, tmp_path):
    (tmp_path / "t.csv").touch()
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit" / "config.json").write_text(json.dumps({"model_type": "vit"}))
    said = "takes images, and --data 'text:t.csv' names texts; give a teacher of texts, as --teacher hf:FOLDER"
    for teacher in ((), ("--teacher", "torchvision:resnet18"), ("--teacher", "hf:vit")):
        assert said in refused("init", "mine.toml", "--data", "text:t.csv", *teacher)
    assert "--resolution is for images" in refused("init", "mine.toml", "--data", "text:t.csv", "--resolution", "64")


@pytest.mark.parametrize(
    ("teacher", "sentence"),
    [
        ("hf:nowhere", "nowhere/config.json cannot be read"),
        ("timm:no_such_net", "timm has no model called 'no_such_net'"),
    ],
)
def test_teachers_of_other_libraries_that_there_are_not(run, teacher, sentence):
    code, _, err = run("init", "mine.toml", "--teacher", teacher)
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1
