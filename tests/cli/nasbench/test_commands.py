"""`automl-kd nasbench`: its help, the names that its commands had before, and experiments of another kind."""

from __future__ import annotations

import inspect
import itertools
import re
import tomllib

import pytest

from automl_kd.cli import QUICKSTART
from automl_kd.cli.nasbench import MOVED_COMMANDS, nasbench
from tests.nasbench.made_up_table import TEXT

COMMANDS = [command for command in nasbench.registered_commands if command.callback and command.name]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.name)
def test_help_shows_an_example_and_all_that_is_written(run, command):
    code, out, _ = run("nasbench", command.name, "--help")
    assert code == 0
    assert f"\n automl-kd nasbench {command.name} " in out.partition("Options")[0].partition("Usage")[2]
    written = re.sub(r"\[/?bold\]", "", inspect.getdoc(command.callback) or "").replace("\\[", "[")
    assert " ".join(written.split()) in " ".join(out.split())


def test_the_group_has_help_of_its_own(run):
    code, out, _ = run("nasbench", "--help")
    assert code == 0
    assert [command.name for command in COMMANDS] == ["import", "search", "proxy-search", "proxy-benchmark"]
    assert all(f" {command.name} " in out for command in COMMANDS)
    assert " nasbench " in run("--help").out


@pytest.mark.parametrize("arguments", [(), ("somewhere", "--out", "x"), ("--help",), ("--nasbench201", "x")])
@pytest.mark.parametrize(("old", "new"), MOVED_COMMANDS.items())
def test_an_old_name_is_refused_with_the_new_one(refused, run, old, new, arguments):
    assert refused(old, *arguments) == f"'automl-kd {old}' is now 'automl-kd {new}'; run that"
    assert old not in run("--help").out
    assert run(*new.split(), "--help").code == 0


PROXY = 'name = "b"\nspace = "a:B"\n[proxy]\nscores = "x"\nchoose = "y"\n[[proxy.searches]]\nsampler = "random"\n'


TEXTS = {"search": QUICKSTART.read_text(), "nasbench search": TEXT, "nasbench proxy-search": PROXY}


@pytest.mark.parametrize(("command", "wanted"), list(itertools.permutations(TEXTS, 2)))
def test_an_experiment_of_another_kind_is_refused_with_its_command(refused, tmp_path, command, wanted):
    (tmp_path / "my own.toml").write_text(TEXTS[wanted])
    said = refused(*command.split(), "my own.toml")
    assert said == f"my own.toml is not an experiment for 'automl-kd {command}'; run: automl-kd {wanted} 'my own.toml'"


@pytest.mark.parametrize("kind", ["nasbench search", "nasbench proxy-search"])
def test_an_experiment_is_shown_with_the_sections_of_its_kind(run, tmp_path, kind):
    (tmp_path / "mine.toml").write_text(TEXTS[kind])
    code, out, _ = run("show", "mine.toml", "--set", "seed=7")
    assert code == 0
    shown = tomllib.loads(out)
    assert set(shown) == {"name", "space", "seed", "table" if kind == "nasbench search" else "proxy"}
    assert shown["seed"] == 7


@pytest.mark.parametrize("command", ["show", *TEXTS])
def test_sections_of_two_kinds_are_refused_whatever_the_command(refused, tmp_path, command):
    (tmp_path / "mine.toml").write_text(PROXY + TEXT[TEXT.index("[table]") :])
    said = "mine.toml: 'table' and 'proxy' are of two kinds of experiment; keep one of them, and make another file"
    assert refused(*command.split(), "mine.toml").startswith(said)
