"""`automl-kd show`, the help texts, and what typer itself refuses."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib
from typing import get_args

import pytest

from automl_kd.cli import QUICKSTART, app, default_name
from automl_kd.cli.catalogue import CATALOGUES
from automl_kd.config import load_experiment
from tests import ROOT

VERBS = ("search", "distill", "score", "leaderboard", "show", "check-teacher", "init")
MEMBERS = {
    "spaces": "search_spaces.nasbench201:SPACE",
    "methods": "kd",
    "losses": "kd",
    "proxies": "diswot_relation",
    "samplers": "nsga2",
    "datasets": "cifar100",
    "recipes": "rsb-a3",
}


@pytest.mark.parametrize(("table", "member"), MEMBERS.items())
def test_a_table_lists_its_members_each_with_a_word_on_it(run, table, member):
    code, out, err = run("show", table)
    assert (code, err) == (0, "")
    heading, *lines = out.splitlines()
    assert heading.rstrip() == table
    [line] = [line for line in lines if line.split()[0] == member]
    assert len(line.split()) > 2


@pytest.mark.slow
def test_models_are_listed_with_their_published_costs(run):
    out = run("show", "models").out
    [line] = [line for line in out.splitlines() if line.split()[0] == "resnet110"]
    assert line.split("resnet110")[1].strip() == "1.73 M parameters, 253 M multiply-adds on CIFAR-10"


@pytest.mark.slow
def test_without_a_name_all_tables_are_shown(run):
    out = run("show").out
    assert [line.strip() for line in out.splitlines() if not line.startswith(" ")] == list(CATALOGUES)


def test_an_experiment_is_shown_as_resolved(run):
    code, out, _ = run("show", str(QUICKSTART), "--set", "search.trials=77", "--set", "budget.params=5")
    record = tomllib.loads(out)
    assert code == 0
    assert (record["search"]["trials"], record["budget"]["params"], record["name"]) == (77, 5, "quickstart")
    assert record["recipe"]["label_smoothing"] == 0  # a default that the file does not name


def test_a_named_recipe_is_shown_by_its_fields_and_a_scaled_rate_is_said(run):
    code, out, err = run("show", str(QUICKSTART), "--set", "recipe.name=rsb-a3", "--set", "recipe.batch_size=256")
    record = tomllib.loads(out)["recipe"]
    assert code == 0
    assert (record["optimizer"], record["batch_size"], record["lr"]) == ("lamb", 256, 0.001)
    assert "name" not in record
    assert "lr = 0.001: that of 'rsb-a3' in proportion to batch_size = 256" in " ".join(err.split())


def test_what_is_shown_can_be_saved_and_shown_again(run, tmp_path):
    shown = run("show", str(QUICKSTART)).out
    (tmp_path / "mine.toml").write_text(shown)
    assert run("show", "mine.toml").out == shown
    assert load_experiment(tmp_path / "mine.toml") == load_experiment(QUICKSTART)


def test_other_kinds_of_experiment_are_shown_too(run):
    path = ROOT / "benchmarks" / "nasbench201_proxy.toml"
    assert "[[proxy.searches]]" in run("show", str(path)).out


def test_a_name_that_is_neither_table_nor_file(refused):
    assert refused("show", "method") == "there is neither a table nor a file called 'method'; did you mean 'methods'?"
    assert refused("show", "no.toml").startswith("no experiment could be read from no.toml: No such file or directory")
    assert "did you mean 'trials'?" in refused("show", str(QUICKSTART), "--set", "search.trails=5")


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(run, verb):
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert f"\n automl-kd {verb} " in out.partition("Options")[0].partition("Usage")[2]


@pytest.mark.parametrize(
    "command", [one for one in app.registered_commands if not one.hidden], ids=lambda one: one.callback.__name__
)
def test_help_says_all_that_is_written(run, command):
    """Rich takes what stands in brackets for its own marks."""
    name = command.name or command.callback.__name__.replace("_", "-")
    written = re.sub(r"\[/?bold\]", "", inspect.getdoc(command.callback) or "").replace("\\[", "[")
    shown = " ".join(run(name, "--help").out.split())
    assert " ".join(written.split()) in shown
    for option in inspect.signature(command.callback, eval_str=True).parameters.values():
        help_of = getattr(get_args(option.annotation)[1], "help", "") or ""
        assert all(word in shown for word in re.findall(r"\S*\[\S*", help_of))


def test_help_names_every_option(run):
    options = {
        "search": ("--set", "--out", "--data-root", "--address"),
        "distill": ("--student", "--teacher", "--checkpoint", "--data", "--method", "--epochs", "--seeds", "--name"),
        "score": ("--proxies", "--sample", "--seed", "--data", "--teacher", "--images", "--repeats", "--top", "--out"),
        "leaderboard": ("--out",),
        "show": ("--set",),
        "init": ("--space", "--data", "--teacher", "--checkpoint", "--method", "--params", "--macs", "--trials"),
    }
    for verb, names in options.items():
        out = run(verb, "--help").out
        assert all(f"{name} " in out for name in names), verb
    assert all(verb in run("--help").out for verb in VERBS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("score", "search_spaces.resnet:SPACE", "--proxies", "params", "--sample", "-1"),
            "Invalid value for '--sample'",
        ),
        (("score", "search_spaces.resnet:SPACE"), "Missing option '--proxies'"),
        (("distill",), "Missing option '--student'"),
        (("leaderboard",), "Missing argument"),
        (("serach",), "No such command 'serach'"),
        (("search", "--trials", "5"), "No such option: --trials"),
        (("distill", "--student", "resnet8", "--epochs", "ten"), "Invalid value for '--epochs'"),
    ],
)
def test_what_typer_refuses(run, tmp_path, arguments, words):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert words in " ".join(err.replace("│", "").split())
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_folder_of_results_is_named_after_the_choices():
    assert default_name("kd", "resnet8", "resnet56", "digits") == "distill-kd-resnet8-resnet56-digits"
    assert default_name("kd", "torchvision:resnet18", "m.n:f", "arrays:/a b/c d.npz") == (
        "distill-kd-torchvision-resnet18-m.n-f-c-d"
    )


def test_starting_up_needs_neither_torch_nor_ray_nor_pandas():
    script = "import sys, automl_kd.cli; print({'torch', 'ray', 'pandas', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "automl_kd", "show", "no.toml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("automl-kd: no experiment could be read from no.toml")
