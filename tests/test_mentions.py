"""Every path and dotted name of ours that a docstring or comment mentions exists."""

from __future__ import annotations

import ast
import functools
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("automl_kd", "search_spaces")
ALSO_SECTIONS = {"data", "search", "experiment"}
"""Rooms that share their name with sections of an experiment, or with a variable: `search.trials` is no module."""

PYTHON_FILE = re.compile(r"(?<![\w.*/])(?:\w+/)*\w+\.py\b")
QUOTED_NAME = re.compile(r"`([a-z_]\w*(?:\.\w+)+)`")


def source_files() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def prose_of(path: Path) -> Iterator[str]:
    """Comments, and strings that stand alone: docstrings and the notes below names."""
    with path.open("rb") as source:
        yield from (token.string for token in tokenize.tokenize(source.readline) if token.type == tokenize.COMMENT)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


def rooms() -> set[str]:
    return {path.name for path in (ROOT / "automl_kd").iterdir() if path.is_dir()} - ALSO_SECTIONS


@functools.cache
def python_files() -> list[str]:
    """All paths of the project's Python files, each with a leading slash."""
    folders = (*PACKAGES, "benchmarks", "tests")
    return [f"/{path.relative_to(ROOT).as_posix()}" for folder in folders for path in (ROOT / folder).rglob("*.py")]


@functools.cache
def names_in(path: Path) -> set[str]:
    """Names that a module defines, imports or assigns, and those of its classes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assigned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return defined | imported | assigned


def exists(name: str) -> bool:
    """Whether a dotted name is a module or package, or a name in one."""
    place, (*parts,) = ROOT, name.split(".")
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    module = place / "__init__.py"
    if parts and (place / f"{parts[0]}.py").is_file():
        module = place / f"{parts.pop(0)}.py"
    return module.is_file() and all(part in names_in(module) for part in parts)


def lost_mentions(text: str) -> set[str]:
    """Files and names of ours in `text` that do not exist."""
    lost_files = {
        file for file in PYTHON_FILE.findall(text) if not any(path.endswith(f"/{file}") for path in python_files())
    }
    names = {name for name in QUOTED_NAME.findall(text) if not name.endswith(".py")}
    full = {name: name if name.split(".")[0] in PACKAGES else f"automl_kd.{name}" for name in names}
    ours = {name for name in names if name.split(".")[0] in {*PACKAGES, *rooms()}}
    return lost_files | {name for name in ours if not exists(full[name])}


def test_what_prose_mentions_exists():
    found = {str(path.relative_to(ROOT)): set().union(*map(lost_mentions, prose_of(path))) for path in source_files()}
    assert {path: sorted(lost) for path, lost in found.items() if lost} == {}


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("see `losses/base.py` and losses/kd_tutor.py", {"losses/kd_tutor.py"}),
        ("`automl_kd.losses.base.Loss`, `training.loop` and `training.lap`", {"training.lap"}),
        ("`automl_kd.losses.base.Lost`", {"automl_kd.losses.base.Lost"}),
        ("`search.trials` of an experiment, `process.json`", set()),
    ],
)
def test_lost_mentions_are_found(text, lost):
    assert lost_mentions(text) == lost
