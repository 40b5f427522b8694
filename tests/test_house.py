"""The measures of the house: folders, files, functions and names stay small and distinct enough to be found."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

from tests import ROOT
from tests.conftest import SLOW, slow_cases

SOURCE = ("automl_kd", "search_spaces")
ALL = (*SOURCE, "tests", "benchmarks")

FILES_OF_A_FOLDER = 16
MEDIAN_LINES = 120
LINES_OF_A_FUNCTION = 50
NAMES_DEFINED_TWICE = 40
TEST_LINES_PER_SOURCE_LINE = 0.8


def files(*tops: str) -> list[Path]:
    return [path for top in tops for path in sorted((ROOT / top).rglob("*.py"))]


def lines(*tops: str) -> list[int]:
    return [len(path.read_text().splitlines()) for path in files(*tops)]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def names_in(module: ast.Module) -> Iterator[str]:
    """What the module itself defines at its top, not what it imports."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name))


def defined() -> dict[str, set[str]]:
    """The modules that define each top-level name of the source, dunders aside."""
    modules = defaultdict(set)
    for path in files(*SOURCE):
        for name in names_in(parsed(path)):
            if not (name.startswith("__") and name.endswith("__")):
                modules[name].add(str(path.relative_to(ROOT)))
    return modules


def test_there_is_a_house():
    assert len(files(*SOURCE)) > 100
    assert len(defined()) > 1000


def test_no_folder_holds_more_files_than_one_takes_in():
    held = Counter(str(path.parent.relative_to(ROOT)) for path in files(*ALL))
    assert {folder: count for folder, count in held.items() if count > FILES_OF_A_FOLDER} == {}


def test_half_of_the_files_are_short():
    assert median(lines(*SOURCE)) < MEDIAN_LINES


def test_no_function_is_longer_than_a_screen():
    lengths = {
        f"{path.relative_to(ROOT)} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in files(*ALL)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    long = {name: length for name, length in lengths.items() if length > LINES_OF_A_FUNCTION}
    assert long == {}


def test_few_names_are_defined_in_two_modules():
    twice = {name: modules for name, modules in defined().items() if len(modules) > 1}
    assert len(twice) < NAMES_DEFINED_TWICE, twice


def test_no_name_is_told_from_another_by_a_mark():
    names = defined()
    marked = {name for name in names if name.endswith("_2")}
    marked |= {name for name in names if name.startswith("_") and name.lstrip("_") in names}
    assert marked == set()


def test_there_is_enough_of_tests():
    assert sum(lines("tests")) >= TEST_LINES_PER_SOURCE_LINE * sum(lines(*SOURCE))


def test_every_slow_case_is_a_test():
    for case in slow_cases():
        file, *_, name = case.split("[")[0].split("::")
        functions = {node.name for node in ast.walk(parsed(ROOT / file)) if isinstance(node, ast.FunctionDef)}
        assert name in functions, f"{case} of {SLOW.name} is no test; take it out or name it anew"


def test_only_the_tests_of_the_benchmarks_import_them():
    for path in files("automl_kd", "search_spaces", "tests"):
        imported = {node.module for node in ast.walk(parsed(path)) if isinstance(node, ast.ImportFrom) and node.module}
        found = sorted(name for name in imported if name.split(".")[0] == "benchmarks")
        assert not found or path.is_relative_to(ROOT / "tests" / "benchmarks"), f"{path} imports {found[0]}"
