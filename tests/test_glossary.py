"""The glossary's words are in use, and names hold none of the words that were retired."""

from __future__ import annotations

import ast
import functools
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("automl_kd", "search_spaces")
EXEMPT = {"automl_kd/spec_names.py", "automl_kd/config/earlier/upgrade.py", "automl_kd/cli/upgrade.py"}
"""Where old names are mapped to new ones."""

RETIRED = (
    "lab", "teller", "told", "heard", "hearing", "tutor", "classroom", "sitting", "desk", "onward", "mend", "mended",
    "symptoms", "yardstick", "tapped", "tapping", "tap", "taps", "guide", "shelf", "quotes", "quoted", "rehearse",
    "rehearsed", "dealt", "alike", "adapters", "distiller", "distillers", "lesson", "taught", "tally", "news", "leads",
    "optimiser", "optimisers", "distil", "contest", "contender", "contenders", "proposer", "panel", "vary", "knob",
    "knobs", "bank", "truth", "untrained",
)  # fmt: skip
"""Parts of names, as of snake_case and CamelCase."""

TERM = re.compile(r"^- \*\*(?P<term>[^*]+)\*\*(?: \(`(?P<name>\w+)`\))?: ", re.MULTILINE)


def files() -> Iterator[Path]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if str(path.relative_to(ROOT)) not in EXEMPT:
                yield path


def parts(name: str) -> set[str]:
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def identifiers(path: Path) -> Iterator[str]:
    """Every name in a file, of what is defined and of what is used, and the file's own."""
    yield path.stem
    yield path.parent.name
    with path.open("rb") as source:
        yield from (token.string for token in tokenize.tokenize(source.readline) if token.type == tokenize.NAME)


def table_keys(table: object) -> Iterator[str]:
    if isinstance(table, dict):
        for name, value in table.items():
            yield name
            yield from table_keys(value)


def retired_in(names: Iterator[str]) -> set[str]:
    return {name for name in names if parts(name) & set(RETIRED)}


@functools.cache
def words_in_use() -> str:
    """README, names and prose of the code, in lower case with single spaces."""
    texts = [(ROOT / "README.md").read_text(encoding="utf-8")]
    for path in files():
        text = path.read_text(encoding="utf-8")
        docs = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, DOCUMENTED)]
        texts += [*docs, *(name.replace("_", " ") for name in re.findall(r"\w+", text))]
    return re.sub(r"\s+", " ", " ".join(texts)).lower()


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def glossary() -> list[tuple[str, str]]:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    return [(found["term"], found["name"] or "") for found in TERM.finditer(text)]


@pytest.mark.parametrize(("term", "name"), glossary(), ids=[term for term, _ in glossary()])
def test_every_term_of_the_glossary_is_in_use(term, name):
    wanted = (name or term).lower()
    assert wanted in words_in_use() or wanted.replace("-", " ") in words_in_use()


def test_the_glossary_has_each_term_once():
    terms = [term for term, _ in glossary()]
    assert 30 <= len(terms) <= 60
    assert len(set(terms)) == len(terms)


def test_no_name_holds_a_retired_word():
    found = {str(path.relative_to(ROOT)): retired_in(identifiers(path)) for path in files()}
    assert {path: sorted(names) for path, names in found.items() if names} == {}


def test_no_key_of_an_experiment_holds_a_retired_word():
    tables = [*sorted(ROOT.glob("automl_kd/**/*.toml")), *sorted(ROOT.glob("benchmarks/*.toml"))]
    assert tables
    for path in tables:
        assert retired_in(table_keys(tomllib.loads(path.read_text(encoding="utf-8")))) == set()


@pytest.mark.parametrize(
    ("name", "found"),
    [("open_lab", True), ("FormulaLab", True), ("TAPS", True), ("label", False), ("stapled", False)],
)
def test_words_are_found_as_parts_of_names(name, found):
    assert bool(retired_in(iter([name]))) is found
