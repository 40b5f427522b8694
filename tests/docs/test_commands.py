"""Commands of the pages: each is parsed by the command line's own parser, and each of our commands is on a page."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import pytest
import typer

from automl_kd import config
from automl_kd.cli import app, nasbench
from automl_kd.config import Experiment
from tests import ROOT
from tests.docs.pages import PAGES, arguments_of, code_spans, commands, text_of

GROUP = typer.main.get_command(app)
EXPERIMENT = {"name": "any", "space": "model:resnet20"}
FOLDERS = "automl_kd|search_spaces|benchmarks|tests|findings|docs|examples"


def resolve(arguments: list[str]) -> tuple[Any, str, list[str]]:
    """The command that the arguments call, its name, and what is left for it."""
    command, names = GROUP, []
    while hasattr(command, "commands"):
        names.append(arguments[0])
        command, arguments = command.commands[arguments[0]], arguments[1:]
    return command, " ".join(names), arguments


def names_in(command: Any, prefix: str = "") -> set[str]:
    if not hasattr(command, "commands"):
        return {prefix.strip()}
    return {
        name for key, one in command.commands.items() if not one.hidden for name in names_in(one, f"{prefix} {key}")
    }


def called() -> list[tuple[str, str]]:
    return [(page, command) for page in PAGES for command in commands(page) if arguments_of(command)]


@pytest.mark.parametrize(("page", "command"), called())
def test_every_command_is_parsed(page, command):
    subcommand, name, rest = resolve(arguments_of(command))
    if not rest and command in code_spans(page):
        return  # a mention of its name
    values = subcommand.make_context(name, rest).params
    for override in values.get("overrides") or []:
        record = {**EXPERIMENT}
        config.merge(record, override)
        config.parse_record(Experiment, record, "--set")


def test_a_wrong_command_is_found():
    command, name, rest = resolve(arguments_of("automl-kd search mine.toml --trials 3  # more"))
    assert (name, rest) == ("search", ["mine.toml", "--trials", "3"])
    with pytest.raises(Exception, match=r"No such option.*--trials"):
        command.make_context(name, rest)


def test_every_command_is_on_a_page():
    known = names_in(GROUP)
    group = next(name.split()[0] for name in known if " " in name)
    named = {
        found for page in PAGES for found in re.findall(rf"automl-kd ((?:{group} )?[a-z][a-z0-9-]*)", text_of(page))
    }
    assert named == known


@pytest.mark.parametrize("page", PAGES)
def test_targets_and_modules_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for command in commands(page):
        if found := re.match(r"make ([a-z-]+)", command):
            assert found[1] in targets
        if found := re.match(r"python -m ([\w.]+)", command):
            assert importlib.util.find_spec(found[1])


@pytest.mark.parametrize("page", PAGES)
def test_files_and_fields_exist(page):
    """Paths from the root of the project, and `section.field` of an experiment."""
    for path in re.findall(rf"(?<![\w./-])(?:automl_kd/)?((?:{FOLDERS})/[\w./*-]*\w)", text_of(page)):
        assert [*ROOT.glob(path)], path
    for span in code_spans(page):
        if (
            (found := re.match(r"([a-z_]+)\.(?!(?:pt|pt2|onnx|safetensors|json)$)(\w+)(?= =|$)", span))
            and found[1] in SECTIONS
            and found[0] not in EARLIER
        ):
            assert found[2] in SECTIONS[found[1]], span


SECTIONS = {
    name: section
    for name, section in config.to_record(config.parse_record(Experiment, EXPERIMENT, "any")).items()
    if isinstance(section, dict) and name not in {"options", "hyperparameters"}
}
EARLIER = {"search.proposer"}
"""Names of earlier releases that a page has on purpose."""


def test_experiments_that_commands_name_are_read():
    named = {found for page in PAGES for found in re.findall(r"benchmarks/\w+\.toml", text_of(page))}
    assert len(named) > 3
    for path in named:
        text = (ROOT / path).read_text(encoding="utf-8")
        made_first = ["teacher.checkpoint=''"] * ("\ncheckpoint =" in text)
        brought = ["teacher.model=resnet20"] * ('model = "hf:' in text)  # a folder that is no part of the project
        config.load_experiment(ROOT / path, made_first + brought, nasbench.KINDS)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        path, _, anchor = target.partition("#")
        file = (PAGES[page].parent / path) if path else PAGES[page]
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


def anchors(text: str) -> set[str]:
    """Headings as hosts of Markdown name them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.M)
    }
